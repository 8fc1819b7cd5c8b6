/* Arithmetic of the viewer that needs no page: outlines of a slice, errors by size, projections, spheres.
   Classic script without dependencies; umd-viewer.js calls it. */
(function () {
  "use strict";

  // edges that an outline crosses in a cell of four voxels (bits a, b, c, d clockwise from the upper left); inside on the left
  const N = [1, 0], E = [2, 1], S = [1, 2], W = [0, 1];
  const CELLS = [[], [[W, N]], [[N, E]], [[W, E]], [[E, S]], [[W, N], [E, S]], [[N, S]], [[W, S]], [[S, W]], [[S, N]],
    [[N, E], [S, W]], [[S, E]], [[E, W]], [[E, N]], [[N, W]], []];

  /* Closed outlines of inside(i, j) on a grid of width x height voxels, as lists of [i, j] in voxel units. */
  function outlines(inside, width, height) {
    const at = (i, j) => (i >= 0 && j >= 0 && i < width && j < height && inside(i, j) ? 1 : 0);
    const next = new Map();
    const stride = 2 * width + 4;
    for (let j = -1; j < height; j++) {
      let a = 0, d = 0;
      for (let i = -1; i < width; i++) {
        const b = at(i + 1, j), c = at(i + 1, j + 1);
        const code = a | (b << 1) | (c << 2) | (d << 3);
        for (const [from, to] of CELLS[code]) {
          const key = ([x, y]) => (2 * j + y + 2) * stride + 2 * i + x + 2;
          next.set(key(from), key(to));
        }
        [a, d] = [b, c];
      }
    }
    const lines = [];
    while (next.size) {
      const start = next.keys().next().value;
      const line = [];
      for (let key = start; next.has(key);) {
        line.push([(key % stride - 2) / 2, (Math.floor(key / stride) - 2) / 2]);
        const then = next.get(key);
        next.delete(key);
        key = then;
      }
      lines.push(line);
    }
    return lines;
  }

  /* Connected parts (through faces) of the voxels where kind(v) is not 0, each of one kind, the largest first:
     {kind, voxels, at}, with `at` the voxel of the part that lies nearest to its middle. */
  function parts(kind, shape) {
    const [nx, ny, nz] = shape, plane = nx * ny, size = plane * nz;
    const seen = new Uint8Array(size), found = [];
    for (let v = 0; v < size; v++) {
      const own = seen[v] ? 0 : kind(v);
      if (!own) continue;
      const members = [v];
      seen[v] = 1;
      for (let m = 0; m < members.length; m++) {
        const here = members[m], x = here % nx, y = Math.floor(here / nx) % ny;
        const around = [x > 0 ? here - 1 : -1, x < nx - 1 ? here + 1 : -1, y > 0 ? here - nx : -1, y < ny - 1 ? here + nx : -1, here - plane, here + plane];
        for (const w of around) if (w >= 0 && w < size && !seen[w] && kind(w) === own) { seen[w] = 1; members.push(w); }
      }
      found.push({ kind: own, voxels: members.length, at: middle(members, nx, ny) });
    }
    return found.sort((a, b) => b.voxels - a.voxels);
  }

  function middle(members, nx, ny) {
    const place = (v) => [v % nx, Math.floor(v / nx) % ny, Math.floor(v / (nx * ny))];
    const mean = [0, 0, 0];
    for (const v of members) place(v).forEach((p, k) => { mean[k] += p / members.length; });
    const far = (v) => place(v).reduce((sum, p, k) => sum + (p - mean[k]) ** 2, 0);
    return members.reduce((best, v) => (far(v) < far(best) ? v : best));
  }

  /* World coordinates (mm) of a voxel number. */
  function world(v, shape, affine) {
    const ijk = [v % shape[0], Math.floor(v / shape[0]) % shape[1], Math.floor(v / (shape[0] * shape[1]))];
    return affine.map((row) => row[0] * ijk[0] + row[1] * ijk[1] + row[2] * ijk[2] + row[3]);
  }

  /* Largest value along the line of sight, from any side of the body: projection.frame(degrees) is {width, height, bytes};
     0 degrees looks from the front (the subject's right on the left), 90 from the subject's left. */
  class Projection {
    constructor(bytes, shape, affine, spacing) {
      this.affine = affine;
      const kept = [];
      for (let v = 0; v < bytes.length; v++) if (bytes[v] > 1) kept.push(v);
      this.values = Uint8Array.from(kept, (v) => bytes[v]);
      this.mm = new Float32Array(3 * kept.length);
      const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
      kept.forEach((v, k) => world(v, shape, affine).forEach((c, axis) => {
        this.mm[3 * k + axis] = c;
        low[axis] = Math.min(low[axis], c);
        high[axis] = Math.max(high[axis], c);
      }));
      this.step = Math.max(...spacing);
      this.centre = low.map((c, axis) => (c + high[axis]) / 2);
      const across = Math.hypot(high[0] - low[0], high[1] - low[1]);
      this.width = Math.max(2, Math.ceil(across / this.step) + 3);
      this.height = Math.max(2, Math.ceil((high[2] - low[2]) / this.step) + 2);
      this.top = high[2];
      this.frames = new Map();
    }

    bin(k, cos, sin) {
      const x = this.mm[3 * k] - this.centre[0], y = this.mm[3 * k + 1] - this.centre[1];
      return [Math.floor(this.width / 2 - (x * cos + y * sin) / this.step), Math.round((this.top - this.mm[3 * k + 2]) / this.step)];
    }

    frame(degrees) {
      const key = ((Math.round(degrees) % 360) + 360) % 360;
      if (!this.frames.has(key)) {
        const bytes = new Uint8Array(this.width * this.height);
        const cos = Math.cos((key * Math.PI) / 180), sin = Math.sin((key * Math.PI) / 180);
        for (let k = 0; k < this.values.length; k++) {
          const [u, w] = this.bin(k, cos, sin), at = u + this.width * w;
          if (this.values[k] > bytes[at]) bytes[at] = this.values[k];
        }
        this.frames.set(key, { width: this.width, height: this.height, bytes });
      }
      return this.frames.get(key);
    }

    /* The hottest point (mm) behind a pixel, or null where there is nothing. */
    hottest(degrees, column, row) {
      const cos = Math.cos((degrees * Math.PI) / 180), sin = Math.sin((degrees * Math.PI) / 180);
      let best = -1;
      for (let k = 0; k < this.values.length; k++) {
        const [u, w] = this.bin(k, cos, sin);
        if (u === column && w === row && (best < 0 || this.values[k] > this.values[best])) best = k;
      }
      return best < 0 ? null : Array.from(this.mm.slice(3 * best, 3 * best + 3));
    }

    /* Column and row of a point (mm). */
    place(degrees, mm) {
      const cos = Math.cos((degrees * Math.PI) / 180), sin = Math.sin((degrees * Math.PI) / 180);
      const x = mm[0] - this.centre[0], y = mm[1] - this.centre[1];
      return [this.width / 2 - (x * cos + y * sin) / this.step, (this.top - mm[2]) / this.step];
    }
  }

  /* Number, mean and largest of value(v) over the voxels that kept(v) accepts; null for none. */
  function measure(size, kept, value) {
    let count = 0, sum = 0, most = -Infinity;
    for (let v = 0; v < size; v++) if (kept(v)) { const x = value(v); count++; sum += x; if (x > most) most = x; }
    return count ? { count, mean: sum / count, most } : null;
  }

  self.UMD_MASKS = { outlines, parts, world, measure, Projection };
})();
