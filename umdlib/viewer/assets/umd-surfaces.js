/* Surfaces of masks, made in the page. Classic script; umd-viewer.js loads it when surfaces are asked for. */
(function () {
  "use strict";

  /* The surface of a mask by surface nets: one point per cell that it cuts, two triangles per face of a voxel; smoothed
     so that the steps of the voxels do not show and the volume stays. Points in voxels, counter-clockwise from outside. */
  function surface(inside, shape, rounds = 6) {
    const low = [Infinity, Infinity, Infinity], high = [-1, -1, -1];
    for (let v = 0, k = 0; k < shape[2]; k++) for (let j = 0; j < shape[1]; j++) for (let i = 0; i < shape[0]; i++, v++) {
      if (inside(v)) [i, j, k].forEach((x, a) => { low[a] = Math.min(low[a], x); high[a] = Math.max(high[a], x); });
    }
    if (high[0] < 0) return null;
    const size = high.map((x, a) => x - low[a] + 3), step = [1, size[0], size[0] * size[1]];
    const grid = new Uint8Array(step[2] * size[2]), of = new Int32Array(grid.length).fill(-1), cells = [];
    for (let k = 1; k < size[2] - 1; k++) for (let j = 1; j < size[1] - 1; j++) for (let i = 1; i < size[0] - 1; i++) {
      grid[i + step[1] * j + step[2] * k] = inside(low[0] + i - 1 + shape[0] * (low[1] + j - 1 + shape[1] * (low[2] + k - 1))) ? 1 : 0;
    }
    const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((c) => [c & 1, (c >> 1) & 1, c >> 2]), away = corners.map((c) => c[0] + step[1] * c[1] + step[2] * c[2]);
    for (let at = 0; at < grid.length - away[7]; at++) {
      let full = 0;
      for (let c = 0; c < 8; c++) full += grid[at + away[c]];
      if (full && full < 8) { of[at] = cells.length; cells.push(at); }
    }
    const points = new Float32Array(3 * cells.length), triangles = [];
    cells.forEach((at, n) => {
      const place = [at % size[0], Math.floor(at / size[0]) % size[1], Math.floor(at / step[2])], sum = [0, 0, 0];
      let cuts = 0;
      for (let c = 0; c < 8; c++) for (let a = 0; a < 3; a++) {
        if (corners[c][a] || grid[at + away[c]] === grid[at + away[c | (1 << a)]]) continue;
        for (let b = 0; b < 3; b++) sum[b] += b === a ? 0.5 : corners[c][b];
        cuts++;
      }
      for (let a = 0; a < 3; a++) points[3 * n + a] = low[a] - 1 + place[a] + sum[a] / cuts;
      for (let a = 0; a < 3; a++) {
        if (grid[at] === grid[at + step[a]]) continue;
        const b = step[(a + 1) % 3], c = step[(a + 2) % 3], quad = [of[at], of[at - b], of[at - b - c], of[at - c]];
        if (!grid[at]) quad.reverse();
        triangles.push(quad[0], quad[1], quad[2], quad[0], quad[2], quad[3]);
      }
    });
    return { points: smoothed(points, triangles, rounds), triangles: Uint32Array.from(triangles) };
  }

  function smoothed(points, triangles, rounds) {
    let now = points;
    for (let n = 0; n < 2 * rounds; n++) {
      const sum = new Float32Array(now.length), count = new Uint16Array(now.length / 3), next = new Float32Array(now.length);
      for (let t = 0; t < triangles.length; t++) {
        const from = triangles[t], to = triangles[t % 3 === 2 ? t - 2 : t + 1];
        for (let a = 0; a < 3; a++) sum[3 * from + a] += now[3 * to + a];
        count[from]++;
      }
      const by = n % 2 ? -0.53 : 0.5; // in, then out again: the volume stays
      for (let v = 0; v < now.length; v++) next[v] = now[v] + by * (sum[v] / count[Math.floor(v / 3)] - now[v]);
      now = next;
    }
    return now;
  }

  /* A surface as an mz3 file, in mm. */
  function meshFile({ points, triangles }, affine) {
    const n = points.length / 3, file = new ArrayBuffer(16 + 4 * triangles.length + 12 * n), view = new DataView(file);
    [[0, 0x5a4d], [2, 3]].forEach(([at, v]) => view.setUint16(at, v, true));
    [triangles.length / 3, n, 0].forEach((v, k) => view.setUint32(4 + 4 * k, v, true));
    const [a, b, c] = affine, mirrored = a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]) < 0;
    const faces = new Uint32Array(file, 16, triangles.length), places = new Float32Array(file, 16 + 4 * triangles.length);
    faces.set(triangles);
    if (mirrored) for (let t = 0; t < faces.length; t += 3) [faces[t + 1], faces[t + 2]] = [faces[t + 2], faces[t + 1]];
    for (let v = 0; v < n; v++) for (let r = 0; r < 3; r++) places[3 * v + r] = affine[r][0] * points[3 * v] + affine[r][1] * points[3 * v + 1] + affine[r][2] * points[3 * v + 2] + affine[r][3];
    return file;
  }

  self.UMD_SURFACES = { surface, meshFile };
})();
