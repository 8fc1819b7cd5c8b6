/* Runs ClickNet's two graphs away from the page: an image is encoded once, a click decodes a window around it.
   The steps are those of umdlib.segmenters.systems.clicknet and umdlib.networks.clicknet, which a test compares. */
(function () {
  "use strict";
  const REACH = 16, ALIGN = 8; // voxels: half a window, and the multiple at which windows start and end
  const NEAR = 1.5, FAR = 10; // voxels: width of the spot of a click, decay of the distance to it
  const networks = new Map(), images = new Map(), known = new Map();

  /* ---- images on the working grid ---- */

  function fromHalf(bits) {
    const sign = bits & 0x8000 ? -1 : 1, power = (bits >> 10) & 31, rest = bits & 1023;
    if (power === 31) return rest ? NaN : sign * Infinity;
    return sign * (power ? 2 ** (power - 15) * (1 + rest / 1024) : 2 ** -14 * (rest / 1024));
  }

  const clip = (v) => Math.min(1, Math.max(-1, v));
  const CHANNELS = {
    HU: (v) => [v / 1000, (v - 40) / 200],
    SUV: (v) => [2 * Math.sqrt(Math.min(20, Math.max(0, v)) / 20) - 1, v / 2.5 - 1],
    "a.u.": (v) => [2 * clip(Math.max(0, v)) - 1, 2 * Math.sqrt(clip(Math.max(0, v))) - 1],
  };

  /* Both windows of the intensities, (2, I, J, K); what is outside the image is -1. */
  function channels(half, unit) {
    const size = half.length, out = new Float32Array(2 * size).fill(-1), of = CHANNELS[unit];
    for (let v = 0; v < size; v++) {
      const value = fromHalf(half[v]);
      if (Number.isNaN(value)) continue;
      const [wide, narrow] = of(value);
      out[v] = clip(wide);
      out[size + v] = clip(narrow);
    }
    return out;
  }

  /* A box of the last three axes of (C, I, J, K). */
  function cut(data, channels, shape, low, size) {
    const out = new data.constructor(channels * size[0] * size[1] * size[2]);
    let at = 0;
    for (let c = 0; c < channels; c++) for (let i = 0; i < size[0]; i++) for (let j = 0; j < size[1]; j++) {
      const from = ((c * shape[0] + low[0] + i) * shape[1] + low[1] + j) * shape[2] + low[2];
      out.set(data.subarray(from, from + size[2]), at);
      at += size[2];
    }
    return out;
  }

  /* ---- affines: three rows of four ---- */

  const apply = (affine, p) => affine.map((row) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2] + row[3]);

  function inverse(affine) {
    const [a, b, c] = affine.map((row) => row.slice(0, 3));
    const cross = (p, q) => [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]];
    const columns = [cross(b, c), cross(c, a), cross(a, b)], whole = a[0] * columns[0][0] + a[1] * columns[0][1] + a[2] * columns[0][2];
    const rows = [0, 1, 2].map((k) => columns.map((column) => column[k] / whole));
    return rows.map((row) => [...row, -(row[0] * affine[0][3] + row[1] * affine[1][3] + row[2] * affine[2][3])]);
  }

  /* ---- the network ---- */

  const tensor = (data, dims) => new ort.Tensor("float32", data, dims);

  async function encoded(name, pane) {
    const key = name + " " + pane;
    if (!known.has(key)) {
      const { shape, pair } = images.get(pane), net = networks.get(name);
      const out = await net.encoder.run({ image: tensor(pair, [1, 2, ...shape]) });
      known.set(key, { fine: out.fine.data, coarse: out.coarse.data, fineKey: out.fine_key.data, coarseKey: out.coarse_key.data,
        counts: [out.fine.dims[1], out.coarse.dims[1]], fineHeads: out.fine_key.dims.slice(0, 2), coarseHeads: out.coarse_key.dims.slice(0, 2) });
    }
    return known.get(key);
  }

  function falloff(out, at, points, size, width, power) {
    for (let i = 0; i < size[0]; i++) for (let j = 0; j < size[1]; j++) for (let k = 0; k < size[2]; k++) {
      let nearest = Infinity;
      for (const p of points) nearest = Math.min(nearest, (i - p[0]) ** 2 + (j - p[1]) ** 2 + (k - p[2]) ** 2);
      out[at++] = power === 2 ? Math.exp(-nearest / width ** 2) : Math.exp(-Math.sqrt(nearest) / width);
    }
  }

  /* Best cosine of each voxel's keys with those at the points, (H, I, J, K) from `at` on. */
  function likeness(out, at, keys, [heads, depth], points, size) {
    const n = size[0] * size[1] * size[2];
    const sum = new Float32Array(n);
    out.fill(-Infinity, at, at + heads * n);
    for (const p of points) {
      const place = (p[0] * size[1] + p[1]) * size[2] + p[2];
      for (let h = 0; h < heads; h++) {
        sum.fill(0);
        for (let d = 0; d < depth; d++) {
          const from = (h * depth + d) * n, weight = keys[from + place];
          for (let v = 0; v < n; v++) sum[v] += weight * keys[from + v];
        }
        for (let v = 0; v < n; v++) if (sum[v] > out[at + h * n + v]) out[at + h * n + v] = sum[v];
      }
    }
  }

  /* Logits in the window [low, high) of clicks (i, j, k, sign) on the working grid. */
  async function decoded(net, features, shape, clicks, before, low, high) {
    const size = high.map((v, a) => v - low[a]), half = size.map((v) => v / 2), halfLow = low.map((v) => v / 2), halfShape = shape.map((v) => v / 2);
    const n = size[0] * size[1] * size[2], m = n / 8, [fineCount, coarseCount] = features.counts, heads = features.coarseHeads[0];
    const fine = cut(features.fine, fineCount, shape, low, size), coarse = cut(features.coarse, coarseCount, halfShape, halfLow, half);
    const fineKey = cut(features.fineKey, features.fineHeads[0] * features.fineHeads[1], shape, low, size);
    const coarseKey = cut(features.coarseKey, heads * features.coarseHeads[1], halfShape, halfLow, half);
    const fineMaps = new Float32Array(7 * n), coarseMaps = new Float32Array((2 + 2 * heads) * m), vector = new Float32Array(2 * coarseCount);
    fineMaps.set(cut(before, 1, shape, low, size), 2 * n);
    [1, 0].forEach((sign, s) => {
      const points = clicks.filter((c) => c[3] === sign).map((c) => [0, 1, 2].map((a) => c[a] - low[a]));
      if (!points.length) return;
      const here = points.map((p) => p.map((v) => Math.floor(v / 2)));
      falloff(fineMaps, s * n, points, size, NEAR, 2);
      falloff(coarseMaps, s * m, points.map((p) => p.map((v) => (v - 0.5) / 2)), half, FAR / 2, 1);
      likeness(coarseMaps, (2 + s * heads) * m, coarseKey, features.coarseHeads, here, half);
      likeness(fineMaps, (3 + 2 * s) * n, fineKey, features.fineHeads, points, size);
      for (let c = 0; c < coarseCount; c++) for (const p of here) vector[s * coarseCount + c] += coarse[c * m + (p[0] * half[1] + p[1]) * half[2] + p[2]] / here.length;
    });
    const out = await net.decoder.run({
      known_fine: tensor(fine, [1, fineCount, ...size]), known_coarse: tensor(coarse, [1, coarseCount, ...half]),
      fine: tensor(fineMaps, [1, 7, ...size]), coarse: tensor(coarseMaps, [1, 2 + 2 * heads, ...half]), vector: tensor(vector, [1, 2 * coarseCount]),
    });
    return out.logits.data;
  }

  function aligned(low, high, shape) {
    return [low.map((v) => Math.max(0, Math.floor(v / ALIGN) * ALIGN)), high.map((v, a) => Math.min(shape[a], Math.ceil(v / ALIGN) * ALIGN))];
  }

  /* First and last-but-one voxel with a value above 0, per axis; null where there is none. */
  function extent(data, shape) {
    const low = [Infinity, Infinity, Infinity], high = [-1, -1, -1];
    let v = 0;
    for (let i = 0; i < shape[0]; i++) for (let j = 0; j < shape[1]; j++) for (let k = 0; k < shape[2]; k++) {
      if (!(data[v++] > 0)) continue;
      [i, j, k].forEach((x, a) => { low[a] = Math.min(low[a], x); high[a] = Math.max(high[a], x); });
    }
    return high[0] < 0 ? null : [low, high];
  }

  /* The mask on the page's grid, and the seconds that it took, of clicks [x, y, z, sign] and a previous mask on the page's grid, or null. */
  async function answer({ network, pane, clicks, previous, page }) {
    const net = networks.get(network), image = images.get(pane), { shape } = image;
    const features = await encoded(network, pane), begun = performance.now();
    const toGrid = inverse(image.affine), toPage = inverse(page.affine);
    const given = clicks.map((c) => [...apply(toGrid, c).map((v, a) => Math.min(shape[a] - 1, Math.max(0, Math.floor(v + 0.5)))), c[3]]);
    const before = previous ? carried(previous, page, image) : new Float32Array(shape[0] * shape[1] * shape[2]);
    let [low, high] = aligned([0, 1, 2].map((a) => Math.min(...given.map((c) => c[a])) - REACH), [0, 1, 2].map((a) => Math.max(...given.map((c) => c[a])) + REACH), shape);
    const marked = previous && extent(before, shape);
    if (marked) {
      const [first, last] = aligned(marked[0].map((v) => v - 1), marked[1].map((v) => v + 2), shape);
      low = low.map((v, a) => Math.min(v, first[a]));
      high = high.map((v, a) => Math.max(v, last[a]));
    }
    for (let by = REACH; ; by *= 2) {
      const logits = await decoded(net, features, shape, given, before, low, high);
      if (!logits.every(Number.isFinite)) throw new Error("the network returned values that are not numbers");
      const size = high.map((v, a) => v - low[a]), found = extent(logits, size);
      let more = false;
      if (found) [0, 1, 2].forEach((a) => {
        if (low[a] > 0 && found[0][a] === 0) { low[a] = Math.max(0, low[a] - by); more = true; }
        if (high[a] < shape[a] && found[1][a] === size[a] - 1) { high[a] = Math.min(shape[a], high[a] + by); more = true; }
      });
      if (!more) return { mask: restored(logits, size, low, found, image, toPage, toGrid, page), seconds: (performance.now() - begun) / 1000 };
    }
  }

  /* The previous mask of the page's grid, nearest voxels, on the working grid. */
  function carried(previous, page, image) {
    const { shape, affine } = image, toPage = inverse(page.affine), out = new Float32Array(shape[0] * shape[1] * shape[2]);
    let v = 0;
    for (let i = 0; i < shape[0]; i++) for (let j = 0; j < shape[1]; j++) for (let k = 0; k < shape[2]; k++, v++) {
      const at = apply(toPage, apply(affine, [i, j, k])).map((x) => Math.floor(x + 0.5));
      if (at.every((x, a) => x >= 0 && x < page.shape[a])) out[v] = previous[at[0] + page.shape[0] * (at[1] + page.shape[1] * at[2])] ? 1 : 0;
    }
    return out;
  }

  /* Logits interpolated linearly at the page's voxels, above 0; Fortran order as the page's volumes. */
  function restored(logits, size, low, found, image, toPage, toGrid, page) {
    const mask = new Uint8Array(page.shape[0] * page.shape[1] * page.shape[2]);
    if (!found) return mask;
    const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((c) => apply(toPage, apply(image.affine, [0, 1, 2].map((a) => low[a] + ((c >> a) & 1 ? found[1][a] + 1 : found[0][a] - 1)))));
    const first = [0, 1, 2].map((a) => Math.max(0, Math.floor(Math.min(...corners.map((p) => p[a])))));
    const last = [0, 1, 2].map((a) => Math.min(page.shape[a], Math.ceil(Math.max(...corners.map((p) => p[a]))) + 1));
    const strides = [size[1] * size[2], size[2], 1];
    for (let k = first[2]; k < last[2]; k++) for (let j = first[1]; j < last[1]; j++) for (let i = first[0]; i < last[0]; i++) {
      const place = apply(toGrid, apply(page.affine, [i, j, k])), base = [], rest = [];
      for (let a = 0; a < 3; a++) {
        const x = Math.min(size[a] - 1, Math.max(0, place[a] - low[a]));
        base[a] = Math.min(Math.floor(x), Math.max(0, size[a] - 2));
        rest[a] = x - base[a];
      }
      let value = 0;
      for (let c = 0; c < 8; c++) {
        let weight = 1, at = 0;
        for (let a = 0; a < 3; a++) {
          const up = (c >> a) & 1;
          weight *= up ? rest[a] : 1 - rest[a];
          at += (base[a] + up) * strides[a];
        }
        if (weight) value += weight * logits[at];
      }
      if (value > 0) mask[i + page.shape[0] * (j + page.shape[1] * k)] = 1;
    }
    return mask;
  }

  /* ---- messages ---- */

  const actions = {
    /* The runtime, and each network: a header (its length in 4 bytes, then JSON) and two graphs. */
    async start({ glue, binary, files }) {
      ort.env.wasm.numThreads = 1;
      // made here: on file:// a worker may not import what the page has made
      ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([glue], { type: "text/javascript" })) };
      ort.env.wasm.wasmBinary = binary;
      ort.env.logLevel = "error";
      for (const { name, file } of files) {
        const length = new DataView(file).getUint32(0, true), head = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 4, length)));
        const graph = (at, size) => ort.InferenceSession.create(new Uint8Array(file, 4 + length + at, size), { executionProviders: ["wasm"] });
        networks.set(name, { ...head, encoder: await graph(0, head.encoder), decoder: await graph(head.encoder, head.decoder) });
      }
    },
    image({ pane, shape, affine, unit, half }) { images.set(pane, { shape, affine, pair: channels(new Uint16Array(half), unit) }); },
    async encode({ network, pane }) { await encoded(network, pane); },
    answer,
  };

  let last = Promise.resolve(); // one after the other
  self.onmessage = ({ data }) => {
    last = last.then(async () => {
      try {
        self.postMessage({ id: data.id, result: await actions[data.action](data) });
      } catch (error) {
        self.postMessage({ id: data.id, error: error.message || String(error) });
      }
    });
  };
})();
