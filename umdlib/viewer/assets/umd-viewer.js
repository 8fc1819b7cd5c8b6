/* Opens a figure of umdlib.viewers: one or two images side by side with masks and clicks.
   Classic script without dependencies; NiiVue and the volumes are loaded when a figure is opened. */
(function () {
  "use strict";

  const ENGINE = "vendor/niivue-0.69.0.umd.js";
  const ZOOM = 4; // pixels of the projection's canvas per voxel
  const FAR = 40; // mm from the crosshair at which a structure lies elsewhere
  const MOST_UNDONE = 100;
  const MOST_OPEN = 3; // browsers keep about 16 WebGL contexts and drop the oldest silently
  const DIFFERENCES = ["agree", "missed", "added", "both"];
  const OVERLAYS = { none: "None", reference: "Reference", prediction: "Prediction", difference: "Difference" };
  const LAYOUTS = { planes: "Three planes and 3D", axial: "Axial", coronal: "Coronal", sagittal: "Sagittal", render: "3D" };
  const OUTLINES = { none: "None", reference: "Reference", prediction: "Prediction", both: "Reference and prediction" };
  const TOOLS = { crosshair: ["Move the crosshair", 8], window: ["Set the window", 9], pan: ["Pan and zoom", 3], distance: ["Measure a distance", 2] };
  const SLICE = { axial: 0, coronal: 1, sagittal: 2, render: 4 };
  // plane, left, top, width, height: the axial plane is the largest
  const PLANES = {
    tall: [[0, 0, 0, 0.56, 0.62], [4, 0, 0.62, 0.56, 0.38], [1, 0.56, 0, 0.24, 1], [2, 0.8, 0, 0.2, 1]],
    flat: [[0, 0, 0, 0.6, 0.6], [1, 0.6, 0, 0.4, 0.5], [2, 0.6, 0.5, 0.4, 0.5], [4, 0, 0.6, 0.6, 0.4]],
  };
  const AXES = [[0, 1, 2], [0, 2, 1], [1, 2, 0]]; // world axes of a plane: across, up, through
  const NAMES = ["axial", "coronal", "sagittal"];
  const WINDOWS = {
    CT: [["Soft tissue, −160 to 240 HU", -160, 240], ["Lung, −1000 to 150 HU", -1000, 150],
      ["Bone, −450 to 1000 HU", -450, 1000], ["Brain, 0 to 80 HU", 0, 80], ["All, −1024 to 1016 HU", -1024, 1016]],
    PET: [["SUV 0 to 2.5", 0, 2.5], ["SUV 0 to 5", 0, 5], ["SUV 0 to 10", 0, 10], ["SUV 0 to 20", 0, 20]],
  };
  const HOT = { R: [0, 120, 235, 255, 255], G: [0, 0, 60, 190, 255], B: [0, 0, 0, 0, 220], A: [0, 110, 190, 235, 255], I: [0, 64, 128, 192, 255] };
  const SVG = "http://www.w3.org/2000/svg";
  const { outlines, parts, world, measure, Projection } = self.UMD_MASKS;
  const open = [];
  let engine = null;

  /* ---- loading ------------------------------------------------------------------------------ */

  function loadScript(url) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = url;
      script.onload = () => { script.remove(); resolve(); };
      script.onerror = () => { script.remove(); reject(new Error("The file " + url + " could not be loaded.")); };
      document.head.append(script);
    });
  }

  function bytesOf(base64) {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  function unpack(base64) {
    const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  async function loadEngine(root) {
    if (self.niivue) return self.niivue;
    if (!engine) {
      engine = (async () => {
        let url = root + ENGINE;
        if (self.UMD_ENGINE) url = URL.createObjectURL(new Blob([await unpack(self.UMD_ENGINE)], { type: "text/javascript" }));
        const define = self.define; // a page's require.js would swallow the library
        self.define = undefined;
        try { await loadScript(url); } finally { self.define = define; }
        return self.niivue;
      })();
      engine.catch(() => { engine = null; });
    }
    return engine;
  }

  async function loadVolume(root, name, folder = "volumes/") {
    if (!(self.UMD_VOLUMES || {})[name]) await loadScript(root + folder + name + ".js");
    return unpack(self.UMD_VOLUMES[name]);
  }

  function hasWebGL() {
    const gl = document.createElement("canvas").getContext("webgl2");
    if (gl) gl.getExtension("WEBGL_lose_context")?.loseContext();
    return Boolean(gl);
  }

  /* ---- small DOM helpers -------------------------------------------------------------------- */

  function element(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.filter((c) => c !== null));
    return node;
  }

  let fields = 0;
  function labelled(text, control) {
    control.id = "umd-field-" + ++fields;
    return element("div", { class: "umd-field" }, element("label", { for: control.id }, ...[].concat(text)), control);
  }

  function select(options, value, onchange) {
    const node = element("select", { onchange: () => onchange(node.value) });
    for (const [key, text] of options) node.append(element("option", { value: key }, text));
    node.value = value;
    return node;
  }

  function rgb(colour) {
    return [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  }

  // stroke of a positive and of a negative click, and its width: a dark edge below a light line
  const MARK = [["#000", "#000", 4.5], ["#fff", "#ffb000", 2]];

  function markPath({ x, y, positive }, scale) {
    const r = 8 * scale, arm = 4 * scale;
    return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0M${x - arm} ${y}h${2 * arm}` + (positive ? `M${x} ${y - arm}v${2 * arm}` : "");
  }

  /* ---- one image ---------------------------------------------------------------------------- */

  class Pane {
    /* `index`: of the image. `first`: the pane with the same image beside which this one shows the second segmenter. */
    constructor(viewer, config, index, first = null) {
      Object.assign(this, { viewer, config, index, first });
      this.cache = first ? first.cache : new Map();
      this.meshes = new Map(); // surfaces shown
      this.maskArray = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[viewer.config.bytes];
      this.canvas = element("canvas", {
        tabindex: "0", role: "application", "aria-roledescription": "image viewer",
        "aria-label": config.title + (first ? ", second segmenter" : "") + ". The wheel scrolls slices, with Ctrl it zooms. Arrow keys move the crosshair left, right, up and down in the body, Page Up and Page Down forward and back, plus and minus zoom.",
      });
      this.marks = document.createElementNS(SVG, "svg");
      for (const [key, value] of [["class", "umd-marks"], ["aria-hidden", "true"], ["preserveAspectRatio", "none"]]) this.marks.setAttribute(key, value);
      this.readout = element("output", { class: "umd-readout" }, " ");
      this.bar = element("div", { class: "umd-scale", "aria-hidden": "true" });
      this.heading = element("div", { class: "umd-title" }, config.title);
      this.node = element("div", { class: "umd-pane" }, this.heading,
        element("div", { class: "umd-canvas" }, this.canvas, this.marks), this.bar, this.readout);
    }

    async load(root, library) {
      const buffer = await loadVolume(root, this.config.image);
      this.read(buffer);
      if (this.config.reference) this.reference = await this.bits(root, this.config.reference);
      const light = this.config.modality === "PET"; // PET on white: dark is hot
      const nv = this.nv = new library.Niivue({
        isRadiologicalConvention: true, sagittalNoseLeft: true, backColor: light ? [1, 1, 1, 1] : [0, 0, 0, 1],
        fontColor: light ? [0.1, 0.1, 0.1, 1] : [0.9, 0.9, 0.9, 1], crosshairColor: light ? [0.75, 0, 0.35, 0.9] : [1, 0.85, 0.1, 0.9],
        crosshairWidth: 1, crosshairWidthUnit: "mm", crosshairGap: 8, show3Dcrosshair: true, dragMode: 9, dragModePrimary: 8, isColorbar: false, logLevel: "silent",
        dragAndDropEnabled: false, loadingText: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "", viewModeHotKey: "",
        yoke3Dto2DZoom: true, fontMinPx: 14, isAntiAlias: true, meshThicknessOn2D: 0, meshXRay: 1, // surfaces in 3D alone, and seen through the body
      });
      // its letter keys, its double click (which resets the window) and its wheel (which holds the page) stay off
      nv.keyDownListener = nv.keyUpListener = nv.resetBriCon = () => {};
      nv.wheelListener = (event) => this.wheel(event);
      const draw = nv.drawScene.bind(nv);
      // drawing costs seconds without a graphics card: while several things change, nothing is drawn
      this.quiet = true;
      nv.drawScene = (...args) => { if (!this.quiet) { draw(...args); this.drawMarks(); } };
      // NiiVue takes the context that is there; kept after drawing, so that it can be printed and saved
      this.canvas.getContext("webgl2", { alpha: true, antialias: true, preserveDrawingBuffer: true });
      await nv.attachToCanvas(this.canvas);
      // the last column matters in 3D only: the body stays translucent around the structures
      nv.addColormap("umd-light", { R: [255, 0], G: [255, 0], B: [255, 0], A: [0, 90], I: [0, 255] });
      nv.addColormap("umd-dark", { R: [0, 255], G: [0, 255], B: [0, 255], A: [0, 70], I: [0, 255] });
      nv.addColormap("umd-hot", HOT);
      nv.addVolume(await library.NVImage.new(buffer, "image.nii", light ? "umd-light" : "umd-dark", 1, null,
        this.config.window[0], this.config.window[1], true, 0.02, false, false, "", 0, 1, NaN, NaN, false, null, 0, null));
      const header = buffer.slice(0, 352);
      new DataView(header).setFloat32(112, 1, true); // slope 1, intercept 0: the overlay holds codes
      new DataView(header).setFloat32(116, 0, true);
      const coded = new Uint8Array(352 + this.size);
      coded.set(new Uint8Array(header));
      this.overlay = await library.NVImage.new(coded.buffer, "overlay.nii", "", 0.5, null,
        NaN, NaN, true, 0, false, false, "", 0, 1, NaN, NaN, false, null, 0, null);
      this.overlay.setColormapLabel(this.viewer.lut);
      nv.addVolume(this.overlay);
      this.library = library;
      nv.onLocationChange = (place) => this.viewer.moved(this, place);
      for (const kind of ["pointermove", "pointerup", "wheel", "touchmove", "touchend"]) {
        this.canvas.addEventListener(kind, () => requestAnimationFrame(() => { this.readWindow(); this.viewer.follow(this); }), { passive: true });
      }
      this.canvas.addEventListener("keydown", (event) => this.viewer.key(this, event));
    }

    read(buffer) {
      const view = new DataView(buffer);
      this.shape = [42, 44, 46].map((at) => view.getInt16(at, true));
      this.size = this.shape[0] * this.shape[1] * this.shape[2];
      this.bytes = new Uint8Array(buffer, 352, this.size);
      this.affine = [0, 1, 2].map((row) => [0, 1, 2, 3].map((c) => view.getFloat32(280 + 16 * row + 4 * c, true)));
      this.spacing = [0, 1, 2].map((c) => Math.hypot(...this.affine.map((row) => row[c])));
    }

    async bits(root, name) {
      if (!this.cache.has(name)) {
        const buffer = await loadVolume(root, name);
        this.cache.set(name, new this.maskArray(buffer));
      }
      return this.cache.get(name);
    }

    voxel(mm) {
      const [a, b, c] = this.affine;
      const d = [mm[0] - a[3], mm[1] - b[3], mm[2] - c[3]];
      const det = (p, q, r) => p[0] * (q[1] * r[2] - q[2] * r[1]) - p[1] * (q[0] * r[2] - q[2] * r[0]) + p[2] * (q[0] * r[1] - q[1] * r[0]);
      const whole = det(a, b, c);
      const ijk = [0, 1, 2].map((col) => {
        const rows = [a, b, c].map((row, i) => [0, 1, 2].map((k) => (k === col ? d[i] : row[k])));
        return Math.floor(det(...rows) / whole + 0.5);
      });
      return ijk.every((v, i) => v >= 0 && v < this.shape[i]) ? ijk[0] + this.shape[0] * (ijk[1] + this.shape[1] * ijk[2]) : -1;
    }

    /* The segmenter whose masks this pane shows. */
    get segmenter() { return this.first ? this.viewer.state.second : this.viewer.state.segmenter; }

    chosen(segmenter = this.segmenter) {
      const { step } = this.viewer.state;
      const own = this.config.predictions.filter((p) => p.segmenter === segmenter);
      const earlier = own.filter((p) => p.step <= step);
      return earlier.length ? earlier.reduce((a, b) => (b.step > a.step ? b : a)) : null;
    }

    async paint(root) {
      const chosen = this.chosen();
      this.prediction = chosen ? await this.bits(root, chosen.bits) : null;
      const { overlay, second, beside, blend } = this.viewer.state;
      const other = second && !beside ? this.chosen(second) : null;
      this.second = other ? await this.bits(root, other.bits) : null;
      if (blend > 0 && !this.fused) await this.fuse(root);
      const count = this.viewer.config.structures.length;
      const only = this.viewer.only();
      const codes = this.overlay.img;
      codes.fill(0);
      if (overlay === "difference" && this.reference && this.prediction) {
        for (let v = 0; v < this.size; v++) {
          const wanted = this.reference[v] & only, found = this.prediction[v] & only;
          if (!(wanted | found)) continue;
          const missed = wanted & ~found, added = found & ~wanted;
          codes[v] = count + (missed ? (added ? 4 : 2) : added ? 3 : 1);
        }
      } else {
        const shown = overlay === "reference" ? this.reference : overlay === "prediction" ? this.prediction : null;
        if (shown) this.paintLabels(shown, only, count, codes);
      }
      await this.paintSurfaces(chosen);
      this.nv.updateGLVolume();
    }

    /* Surfaces of the masks in 3D, made here of what is loaded: reference in the structure's colour, prediction lighter. */
    async paintSurfaces(chosen) {
      const { surface: shown, solid } = this.viewer.state, wanted = new Map();
      for (const kind of ["reference", "prediction"]) {
        if (!this[kind] || (shown !== kind && shown !== "both")) continue;
        this.viewer.config.structures.forEach((s, k) => {
          if ((this.viewer.only() >>> k) & 1) wanted.set([kind, k, kind === "prediction" ? chosen.bits + (chosen.turn || 0) : ""].join(), { bits: this[kind], k, light: kind === "prediction", colour: s.colour });
        });
      }
      for (const [key, mesh] of this.meshes) if (!wanted.has(key)) { if (mesh) this.nv.removeMesh(mesh); this.meshes.delete(key); }
      if (wanted.size && !self.UMD_SURFACES) await loadScript(this.viewer.root + "umd-surfaces.js");
      for (const [key, { bits, k, light, colour }] of wanted) {
        if (!this.meshes.has(key)) {
          const { surface, meshFile } = self.UMD_SURFACES;
          const found = surface((v) => (bits[v] >>> k) & 1, this.shape);
          const tint = Uint8Array.of(...rgb(colour).map((c) => (light ? (c + 255) / 2 : c)), 255);
          const mesh = found && await this.library.NVMesh.readMesh(meshFile(found, this.affine), "surface.mz3", this.nv.gl, 1, tint, true);
          if (mesh) this.nv.addMesh(mesh);
          this.meshes.set(key, mesh);
        }
        const mesh = this.meshes.get(key);
        if (mesh) mesh.opacity = (solid[k] ?? 0.7) * (light && shown === "both" ? 0.6 : 1);
      }
    }

    paintLabels(shown, only, count, codes) {
      const sizes = new Array(count).fill(0);
      for (let v = 0; v < this.size; v++) for (let rest = shown[v] & only, b = 0; rest; rest >>>= 1, b++) if (rest & 1) sizes[b]++;
      // where structures overlap, the one with the fewest voxels lies on top
      const order = sizes.map((_, b) => b).sort((a, b) => sizes[a] - sizes[b] || b - a);
      for (let v = 0; v < this.size; v++) {
        const here = shown[v] & only;
        if (here) codes[v] = 1 + order.find((b) => (here >>> b) & 1);
      }
    }

    /* PET over the structural image, in the colours of hot metal. */
    async fuse(root) {
      const pet = this.viewer.fusing(this);
      if (!pet || this.fused) return;
      const buffer = await loadVolume(root, pet.config.image);
      const [low, high] = this.viewer.state.windows[pet.index];
      this.fused = await this.library.NVImage.new(buffer, "pet.nii", "umd-hot", this.viewer.state.blend, null,
        low, high, true, 0.02, false, false, "", 0, 1, NaN, NaN, false, null, 0, null);
      this.nv.addVolume(this.fused);
      this.nv.setVolume(this.fused, 1); // below the masks
    }

    /* The window as the image has it: dragging sets it in the image. */
    readWindow() {
      const image = this.nv?.volumes[0];
      if (!image || !this.viewer.panes?.includes(this) || this.quiet) return;
      const [low, high] = this.viewer.state.windows[this.index];
      if (image.cal_min !== low || image.cal_max !== high) this.viewer.window(this.index, [image.cal_min, image.cal_max], false);
    }

    /* Takes over a window that was set in another pane with this image. */
    takeWindow([low, high]) {
      const image = this.nv.volumes[0];
      if (image.cal_min !== low || image.cal_max !== high) { [image.cal_min, image.cal_max] = [low, high]; this.nv.updateGLVolume(); }
      this.colourBar();
    }

    /* One slice on, in the plane below the pointer; with Ctrl the zoom. */
    wheel(event) {
      if (!this.viewer.stage?.contains(document.activeElement)) return; // the page scrolls on
      event.preventDefault();
      if (event.ctrlKey) { this.viewer.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15); return; }
      const scale = this.canvas.width / Math.max(this.canvas.clientWidth, 1);
      const tile = this.tile(event.offsetX * scale, event.offsetY * scale);
      if (!tile) { this.viewer.turn(event.deltaY < 0 ? -10 : 10); return; }
      const through = AXES[tile.axCorSag][2], mm = [...this.viewer.state.xyz];
      mm[through] += (event.deltaY < 0 ? 1 : -1) * this.thickness(through);
      this.viewer.go(mm);
    }

    tile(x, y) {
      return this.nv.screenSlices.find((tile) => {
        let [left, top, width, height] = tile.leftTopWidthHeight;
        if (width < 0) { left += width; width = -width; }
        return tile.axCorSag <= 2 && x >= left && x <= left + width && y >= top && y <= top + height;
      });
    }

    /* Voxel axis that runs most along a world axis, and the voxels' size along it. */
    axis(w) { return [0, 1, 2].reduce((best, k) => (Math.abs(this.affine[w][k]) > Math.abs(this.affine[w][best]) ? k : best), 0); }
    thickness(w) { return this.spacing[this.axis(w)]; }

    place3(at) { return [at % this.shape[0], Math.floor(at / this.shape[0]) % this.shape[1], Math.floor(at / (this.shape[0] * this.shape[1]))]; }

    names(bits, at, only = -1) {
      if (!bits || at < 0) return [];
      return this.viewer.config.structures.filter((_, b) => (only < 0 || b === only) && (bits[at] >>> b) & 1).map((s) => s.title.toLowerCase());
    }

    clicks() {
      const chosen = this.chosen();
      if (!chosen) return [];
      return Object.entries(chosen.clicks)
        .filter(([name]) => this.viewer.only() >>> this.viewer.config.structures.findIndex((s) => s.name === name) & 1)
        .flatMap(([name, clicks]) => clicks.map((c, order) => ({ name, order, mm: c.slice(0, 3), positive: c[3] === 1 })));
    }

    value(at) {
      const { span, unit, modality } = this.config;
      if (at < 0) return "outside this image";
      const byte = this.bytes[at], number = span[0] + (byte * (span[1] - span[0])) / 255;
      const edge = byte === 255 && unit !== "a.u." && this.config.clipped ? "≥ " : "";
      if (unit === "SUV") return "SUV " + edge + number.toFixed(2);
      return modality + " " + edge + (unit === "HU" ? number.toFixed(0) + " HU" : number.toPrecision(3));
    }

    describe(mm) {
      const { config, state } = this.viewer;
      const at = this.voxel(mm);
      const parts = [mm.map((v, i) => "xyz"[i] + " " + v.toFixed(0)).join(", ") + " mm", this.value(at)];
      if (this.reference) parts.push("reference: " + (this.names(this.reference, at).join(", ") || "none"));
      const chosen = this.chosen();
      if (chosen) {
        parts.push("prediction: " + (this.names(this.prediction, at, state.structure).join(", ") || "none"));
        if (state.structure >= 0) {
          const dice = chosen.dice[state.structure];
          parts.push("DSC of the " + config.structures[state.structure].title.toLowerCase() + ": " + (dice === null ? "not defined" : dice.toFixed(3)));
        }
      } else if (this.segmenter) parts.push("no prediction of this segmenter");
      return parts.concat(this.measures(mm)).join(" · ");
    }

    number(at) {
      const { span } = this.config;
      return span[0] + (this.bytes[at] * (span[1] - span[0])) / 255;
    }

    /* Volume, mean and largest value of the structure shown, and of a sphere around the crosshair. */
    measures(mm) {
      const { state } = this.viewer;
      const ml = this.spacing.reduce((a, b) => a * b, 1) / 1000;
      const unit = this.config.unit, digits = unit === "SUV" ? 2 : 0, words = [];
      const say = (what, found) => { if (found) words.push(`${what}: ${(found.count * ml).toFixed(1)} ml, ${unit} mean ${found.mean.toFixed(digits)}, max ${found.most.toFixed(digits)}`); };
      if (state.structure >= 0) {
        const shown = this.chosen(), key = [state.structure, shown?.bits, shown?.turn].join();
        if (this.measured?.key !== key) {
          const of = (bits) => (bits ? measure(this.size, (v) => (bits[v] >>> state.structure) & 1, (v) => this.number(v)) : null);
          this.measured = { key, reference: of(this.reference), prediction: of(this.prediction) };
        }
        say("reference", this.measured.reference);
        say("prediction", this.measured.prediction);
      }
      if (state.sphere) say(`sphere of ${state.sphere} mm`, this.ball(mm, state.sphere / 2));
      return words;
    }

    ball(mm, radius) {
      const at = this.voxel(mm);
      if (at < 0) return null;
      const middle = this.place3(at), reach = this.spacing.map((s) => Math.ceil(radius / s));
      const inside = [];
      for (let k = -reach[2]; k <= reach[2]; k++) for (let j = -reach[1]; j <= reach[1]; j++) for (let i = -reach[0]; i <= reach[0]; i++) {
        const ijk = [middle[0] + i, middle[1] + j, middle[2] + k];
        if (ijk.some((c, a) => c < 0 || c >= this.shape[a])) continue;
        const v = ijk[0] + this.shape[0] * (ijk[1] + this.shape[1] * ijk[2]);
        if (Math.hypot(...world(v, this.shape, this.affine).map((c, a) => c - mm[a])) <= radius) inside.push(v);
      }
      return measure(inside.length, () => true, (n) => this.number(inside[n]));
    }

    /* Parts of the difference between reference and prediction, the largest first. */
    errors() {
      if (!this.reference || !this.prediction) return [];
      const only = this.viewer.only(), ml = this.spacing.reduce((a, b) => a * b, 1) / 1000;
      const kind = (v) => {
        const wanted = this.reference[v] & only, found = this.prediction[v] & only;
        return wanted & ~found ? 1 : found & ~wanted ? 2 : 0;
      };
      return parts(kind, this.shape).map((p) => ({ what: p.kind === 1 ? "missed" : "added", ml: p.voxels * ml, mm: world(p.at, this.shape, this.affine), pane: this }));
    }

    /* Tiles of the canvas that show a plane: how millimetres become pixels there. */
    planes() {
      if (this.nv.volumes.length < 2) return [];
      return this.nv.screenSlices.filter((tile) => tile.axCorSag <= 2).map((tile) => {
        const [across, up, through] = AXES[tile.axCorSag];
        let [left, top, width, height] = tile.leftTopWidthHeight;
        const mirrored = width < 0;
        if (mirrored) { left += width; width = -width; }
        const share = (mm, axis, k) => (mm[axis] - tile.leftTopMM[k]) / tile.fovMM[k];
        const place = (mm) => {
          const x = share(mm, across, 0), y = share(mm, up, 1);
          return [left + (mirrored ? 1 - x : x) * width, top + (1 - y) * height, Math.abs(x - 0.5) <= 0.5 && Math.abs(y - 0.5) <= 0.5];
        };
        return { across, up, through, name: NAMES[tile.axCorSag], left, top, width, height, perMm: width / Math.abs(tile.fovMM[0]), place };
      });
    }

    /* All that is drawn over the image, in pixels of the canvas: paths and words. */
    drawing() {
      const scale = this.canvas.width / Math.max(this.canvas.clientWidth, 1);
      const here = Array.from(this.nv.frac2mm(this.nv.scene.crosshairPos)).slice(0, 3);
      const light = this.config.modality === "PET", ink = light ? "#222" : "#eee", edge = light ? "#fff" : "#000";
      const shapes = [];
      const clicks = this.clicks();
      this.planes().forEach((plane, order) => {
        shapes.push(...this.contours(plane, here, scale));
        for (const click of clicks) {
          const away = Math.abs(click.mm[plane.through] - here[plane.through]);
          const [x, y, seen] = plane.place(click.mm);
          if (away > 12 || !seen) continue;
          // fainter where the slice lies beside the click
          for (const [plus, minus, width] of MARK) {
            shapes.push({ d: markPath({ x, y, positive: click.positive }, scale), stroke: click.positive ? plus : minus, width: width * scale, opacity: away <= 4 ? 1 : 0.45 });
          }
        }
        const radius = this.viewer.state.sphere / 2;
        if (radius) {
          const [x, y] = plane.place(here), r = radius * plane.perMm;
          for (const [stroke, width] of [[edge, 3], [ink, 1.5]]) shapes.push({ d: `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`, stroke, width: width * scale });
        }
        const axis = this.axis(plane.through), at = this.voxel(here);
        const number = at < 0 ? "" : ` ${this.place3(at)[axis] + 1}/${this.shape[axis]}`;
        shapes.push({ text: plane.name + number, x: plane.left + 6 * scale, y: plane.top + plane.height - 8 * scale, size: 11 * scale, fill: ink, edge });
        if (order === 0) {
          const mm = 50 * plane.perMm < plane.width * 0.45 ? 50 : 20, length = mm * plane.perMm;
          const x = plane.left + plane.width - length - 8 * scale, y = plane.top + plane.height - 8 * scale;
          for (const [stroke, width] of [[edge, 4], [ink, 2]]) shapes.push({ d: `M${x} ${y}h${length}`, stroke, width: width * scale });
          shapes.push({ text: mm + " mm", x, y: y - 5 * scale, size: 11 * scale, fill: ink, edge });
        }
      });
      return shapes;
    }

    /* Outlines of the masks where the slices cut them: reference solid, prediction dashed, second segmenter dotted. */
    contours(plane, here, scale) {
      const { outline } = this.viewer.state;
      const sources = [];
      if (this.reference && (outline === "reference" || outline === "both")) sources.push([this.reference, null]);
      if (this.prediction && (outline === "prediction" || outline === "both")) sources.push([this.prediction, [6 * scale, 3 * scale]]);
      if (this.second) sources.push([this.second, [1.5 * scale, 3 * scale]]);
      const at = this.voxel(here);
      if (!sources.length || at < 0) return [];
      const [a, b, c] = [plane.across, plane.up, plane.through].map((w) => this.axis(w));
      const strides = [1, this.shape[0], this.shape[0] * this.shape[1]];
      const depth = this.place3(at)[c] * strides[c];
      const ijk = this.place3(at), shapes = [];
      const only = this.viewer.only();
      for (const [bits, dash] of sources) {
        this.viewer.config.structures.forEach((s, k) => {
          if (!((only >>> k) & 1)) return;
          const inside = (i, j) => (bits[i * strides[a] + j * strides[b] + depth] >>> k) & 1;
          let d = "";
          for (const line of outlines(inside, this.shape[a], this.shape[b])) {
            line.forEach(([i, j], n) => {
              [ijk[a], ijk[b]] = [i, j];
              const mm = this.affine.map((row) => row[0] * ijk[0] + row[1] * ijk[1] + row[2] * ijk[2] + row[3]);
              const [x, y] = plane.place(mm);
              d += (n ? "L" : "M") + x.toFixed(1) + " " + y.toFixed(1);
            });
            d += "Z";
          }
          if (!d) return;
          const colour = only === (1 << k) >>> 0 ? (this.config.modality === "PET" ? "#0a7d32" : "#7CFC00") : s.colour;
          shapes.push({ d, stroke: this.config.modality === "PET" ? "#fff" : "#000", width: 3 * scale, opacity: 0.6 }, { d, stroke: colour, width: 1.6 * scale, dash });
        });
      }
      return shapes;
    }

    drawMarks() {
      this.marks.setAttribute("viewBox", `0 0 ${this.canvas.width} ${this.canvas.height}`);
      this.marks.innerHTML = this.drawing().map((s) => (s.text
        ? `<text x="${s.x}" y="${s.y}" font-size="${s.size}" fill="${s.fill}" stroke="${s.edge}" stroke-width="${s.size / 5}" paint-order="stroke">${s.text}</text>`
        : `<path d="${s.d}" opacity="${s.opacity ?? 1}" fill="none" stroke="${s.stroke}" stroke-width="${s.width}"${s.dash ? ` stroke-dasharray="${s.dash}"` : ""}/>`)).join("");
    }

    picture() {
      this.nv.drawScene();
      const copy = document.createElement("canvas");
      [copy.width, copy.height] = [this.canvas.width, this.canvas.height];
      const pen = copy.getContext("2d");
      pen.drawImage(this.canvas, 0, 0);
      for (const s of this.drawing()) {
        pen.globalAlpha = s.opacity ?? 1;
        if (s.text) {
          [pen.font, pen.fillStyle, pen.strokeStyle, pen.lineWidth] = [`${s.size}px sans-serif`, s.fill, s.edge, s.size / 5];
          pen.strokeText(s.text, s.x, s.y);
          pen.fillText(s.text, s.x, s.y);
        } else {
          [pen.strokeStyle, pen.lineWidth] = [s.stroke, s.width];
          pen.setLineDash(s.dash || []);
          pen.stroke(new Path2D(s.d));
        }
      }
      return copy;
    }

    /* The colour bar below the image: what black and white, and hot metal, mean. */
    colourBar() {
      const { windows, blend } = this.viewer.state;
      const pet = this.viewer.fusing(this);
      const word = (v, unit) => (unit === "SUV" ? v.toFixed(1) : v.toFixed(0));
      const strip = ([low, high], unit, colours) => [element("span", {}, word(low, unit)), element("i", { style: `background:linear-gradient(to right,${colours})` }), element("span", {}, word(high, unit) + " " + unit)];
      const own = windows[this.index];
      const parts = strip(own, this.config.unit, this.config.modality === "PET" ? "#fff,#000" : "#000,#fff");
      if (pet && blend > 0) parts.push(...strip(windows[pet.index], "SUV", "#000,#780000,#eb3c00,#ffbe00,#ffffdc"));
      this.bar.replaceChildren(...parts);
    }

    arrange(layout) {
      const nv = this.nv;
      if (layout === "planes") {
        const extent = this.shape.map((n, i) => n * this.spacing[i]);
        const kind = Math.max(...extent) > 1.5 * Math.min(...extent) ? "tall" : "flat";
        nv.setSliceType(3); // a layout is ignored while only 3D is shown
        nv.setCustomLayout(PLANES[kind].map(([sliceType, ...position]) => ({ sliceType, position })));
      } else {
        nv.clearCustomLayout();
        nv.setSliceType(SLICE[layout]);
      }
      nv.drawScene();
    }

    release() {
      const gl = this.nv?.gl;
      this.nv?.cleanup();
      gl?.getExtension("WEBGL_lose_context")?.loseContext();
      this.nv = null;
    }
  }

  /* ---- one figure --------------------------------------------------------------------------- */

  class Viewer {
    constructor(figure) {
      this.figure = figure;
      this.config = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
      // the page's own depth is known better to the theme than to whoever wrote the figure
      const content = document.documentElement.getAttribute("data-content_root");
      this.root = self.UMD_ENGINE ? "" : content !== null ? content + "umd/" : figure.dataset.umdRoot;
      this.poster = figure.querySelector(".umd-poster");
      const picture = this.poster.querySelector("img");
      const mend = () => {
        const right = this.root + "posters/" + picture.getAttribute("src").split("/").pop();
        if (picture.getAttribute("src") !== right && !picture.src.startsWith("data:")) picture.src = right;
      };
      if (picture?.complete && !picture.naturalWidth) mend();
      picture?.addEventListener("error", mend, { once: true });
      this.button = figure.querySelector(".umd-open");
      this.button.addEventListener("click", () => this.open());
      this.body = this.config.panes;
      this.past = []; // what `undo` goes back to
      this.reset();
      this.lut = this.colours();
    }

    reset() {
      const { start, structures } = this.config;
      this.state = {
        structure: structures.findIndex((s) => s.name === start.structure), overlay: start.overlay,
        segmenter: start.segmenter, step: start.step, opacity: 0.5, layout: "planes", outline: start.outline || "none",
        surface: "none", solid: {}, second: "", beside: false, chosen: null, blend: 0, sphere: 0, some: 0, tool: "crosshair", cross: true, mip: false, angle: 0,
        windows: this.config.panes.map((p) => [...p.window]), xyz: start.xyz, zoom: [0, 0, 0, 1], turn: [160, 10],
      };
      this.suit();
    }

    /* Bits of the structures that are shown. */
    only() {
      const { structure, some } = this.state;
      return (structure >= 0 ? 1 << structure : structure === -2 ? some : 2 ** this.config.structures.length - 1) >>> 0;
    }

    /* The pane whose PET can lie on a pane's structural image. */
    fusing(pane) {
      return pane.config.modality === "PET" ? null : this.panes?.find((p) => p.config.modality === "PET") || null;
    }

    /* A window that the structure can be seen in, unless somebody has chosen one. */
    suit() {
      const { config, state } = this;
      const name = config.structures[state.structure]?.name;
      config.panes.forEach((pane, i) => { if (!state.chosen?.[i]) state.windows[i] = [...(pane.suited[name] || pane.window)]; });
    }

    /* Sets a pane's window; `draw` is false where the image has it already. */
    window(i, values, draw = true) {
      if (!values.every(Number.isFinite) || values[0] >= values[1]) return;
      this.state.windows[i] = values;
      (this.state.chosen ||= {})[i] = true;
      this.fields?.windows[i]();
      if (draw) this.set({});
      else for (const pane of this.panes) if (pane.index === i) pane.takeWindow(values);
    }

    colours() {
      const { structures, difference } = this.config;
      const list = [[0, 0, 0], ...structures.map((s) => rgb(s.colour)), ...DIFFERENCES.map((k) => rgb(difference[k]))];
      return { R: list.map((c) => c[0]), G: list.map((c) => c[1]), B: list.map((c) => c[2]),
        A: list.map((_, i) => (i ? 255 : 0)), I: list.map((_, i) => i), labels: list.map((_, i) => String(i)) };
    }

    note(text) {
      this.message?.remove();
      this.message = text ? element("p", { class: "umd-note", role: "status" }, text) : null;
      if (text) this.poster.after(this.message);
    }

    async open() {
      if (this.stage) return;
      if (typeof DecompressionStream === "undefined" || !hasWebGL()) {
        this.note("The 3D viewer needs WebGL 2, which this browser does not offer here. The picture above stays; a current Firefox, Chrome, Edge or Safari with graphics acceleration opens the viewer.");
        return;
      }
      const begun = performance.now();
      this.button.disabled = true;
      this.note("Loading the viewer and the volumes …");
      try {
        while (open.length >= MOST_OPEN) open[0].close();
        const library = await loadEngine(this.root);
        if (this.config.networks && !self.UMD_ANSWERS) await loadScript(this.root + "umd-answers.js");
        this.panes = this.config.panes.map((p, i) => new Pane(this, p, i));
        this.library = library;
        this.build();
        open.push(this);
        for (const pane of this.panes) {
          await pane.load(this.root, library);
          if (!this.panes) { this.note(""); return; } // closed meanwhile
        }
        this.stage.querySelector(".umd-bars").replaceWith(this.controls()); // the sliders need the images' sizes
        this.stage.querySelector("select")?.focus({ preventScroll: true });
        await this.arrangeBeside();
        if (!this.panes) { this.note(""); return; }
        await this.show(false);
        this.go(this.state.xyz);
        this.note("");
        this.figure.dataset.umdReady = Math.round(performance.now() - begun); // milliseconds
        this.figure.dataset.state = "ready";
      } catch (error) {
        const closed = !this.panes;
        this.close();
        this.note(closed ? "" : "The viewer could not be opened: " + error.message);
      } finally {
        this.button.disabled = false;
      }
    }

    close() {
      const at = open.indexOf(this);
      if (at >= 0) open.splice(at, 1);
      if (document.fullscreenElement === this.stage) document.exitFullscreen?.();
      clearInterval(this.turning);
      this.turning = 0;
      this.mip = this.wrong = this.now = null;
      this.past = [];
      this.answers?.stop();
      this.panes?.forEach((p) => p.release());
      this.panes = null;
      this.stage?.remove();
      this.stage = null;
      delete this.figure.dataset.umdReady;
      this.figure.dataset.state = "closed";
      this.figure.classList.remove("umd-is-open");
    }

    build() {
      this.live = element("div", { class: "umd-hidden", "aria-live": "polite" });
      this.legend = element("div", { class: "umd-legend" });
      this.board = element("div", { class: "umd-panes" }, ...this.panes.map((p) => p.node));
      this.answers = this.config.networks ? new self.UMD_ANSWERS.Answers(this, { element, loadScript, loadVolume }) : null;
      this.stage = element("div", { class: "umd-stage", role: "group", "aria-label": this.config.title },
        element("div", { class: "umd-bars" }), this.board, this.legend, this.answers?.node || null, this.live);
      this.stage.addEventListener("keydown", (event) => {
        if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z" && event.target.type !== "number") { event.preventDefault(); this.undo(); }
      });
      this.poster.after(this.stage);
      this.figure.classList.add("umd-is-open");
    }

    controls() {
      this.fields = { windows: [] };
      return element("div", { class: "umd-bars" }, this.whatControls(), this.howControls(), this.buttons());
    }

    /* What is shown: structures, masks, segmenters, step. */
    whatControls() {
      const { config, state } = this;
      const bar = element("div", { class: "umd-bar" });
      const add = (text, control) => bar.append(labelled(text, control));
      const several = element("fieldset", { class: "umd-several" }, element("legend", {}, "Structures shown"));
      config.structures.forEach((s, k) => {
        const box = element("input", { type: "checkbox", onchange: () => { this.set({ some: (state.some ^ (1 << k)) >>> 0 }); this.fields.solid(); } });
        box.checked = Boolean((state.some >>> k) & 1);
        several.append(element("label", {}, box, element("i", { style: "background:" + s.colour }), s.title));
      });
      several.hidden = state.structure !== -2;
      add("Structure", this.fields.structure = select([["-1", "All structures"], ["-2", "Several …"], ...config.structures.map((s, i) => [String(i), s.title])],
        String(state.structure), (v) => {
          const structure = Number(v);
          several.hidden = structure !== -2;
          if (structure === -2 && !state.some && state.structure >= 0) { state.some = (1 << state.structure) >>> 0; several.querySelectorAll("input")[state.structure].checked = true; }
          state.structure = structure;
          this.suit();
          this.fields.windows.forEach((refresh) => refresh());
          this.fields.solid();
          this.seek();
          this.set({});
        }));
      const has = (kind) => kind === "none" || (kind === "reference" ? config.panes.some((p) => p.reference) : config.segmenters.length);
      add("Overlay", this.fields.overlay = select(Object.entries(OVERLAYS).filter(([k]) => has(k)), state.overlay, (v) => this.set({ overlay: v })));
      add("Outlines", select(Object.entries(OUTLINES).filter(([k]) => has(k)), state.outline, (v) => this.set({ outline: v })));
      const solid = element("fieldset", { class: "umd-several", hidden: state.surface === "none" }, element("legend", {}, "Opacity of surfaces"));
      this.fields.solid = () => {
        solid.hidden = state.surface === "none";
        solid.replaceChildren(solid.firstChild, ...config.structures.map((s, k) => {
          if (!((this.only() >>> k) & 1)) return "";
          const slider = element("input", { type: "range", min: 0, max: 1, step: 0.1, value: state.solid[k] ?? 0.7, oninput: () => this.set({ solid: { ...state.solid, [k]: slider.valueAsNumber } }) });
          return element("label", {}, element("i", { style: "background:" + s.colour }), s.title, slider);
        }));
      };
      add("Surfaces in 3D", select(Object.entries(OUTLINES).filter(([k]) => has(k)), state.surface, (v) => { this.set({ surface: v }); this.fields.solid(); }));
      const named = config.segmenters.map((s) => [s.name, s.title]);
      if (named.length) add("Segmenter", this.fields.segmenter = select(named, state.segmenter, (v) => this.set({ segmenter: v })));
      if (named.length > 1) add("Second segmenter", this.fields.second = select([["", "None"], ...named], state.second, (v) => { state.second = v; this.setBeside(state.beside && v !== ""); }));
      const last = Math.max(0, ...config.panes.flatMap((p) => p.predictions.map((q) => q.step)));
      if (last) {
        const shown = element("b", {}, String(state.step));
        const slider = element("input", { type: "range", min: 0, max: last, step: 1, value: state.step,
          oninput: () => { shown.textContent = slider.value; this.set({ step: Number(slider.value) }); } });
        add([config.step_title + ": ", shown], slider);
      }
      const opacity = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: state.opacity, oninput: () => this.set({ opacity: Number(opacity.value) }) });
      add("Opacity", opacity);
      bar.append(several, solid);
      this.fields.solid();
      return bar;
    }

    /* How it is shown: windows, fusion, planes, what dragging does. */
    howControls() {
      const { config, state } = this;
      const bar = element("div", { class: "umd-bar" });
      const add = (text, control) => bar.append(labelled(text, control));
      config.panes.forEach((pane, i) => this.windowFields(bar, pane, i));
      if (this.panes.some((p) => this.fusing(p))) {
        const blend = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: state.blend, oninput: () => this.set({ blend: Number(blend.value) }) });
        add("PET on " + config.panes.find((p) => p.modality !== "PET").title, blend);
      }
      add("View", select(Object.entries(LAYOUTS), state.layout, (v) => this.set({ layout: v })));
      const { affine, shape } = this.panes[0], axis = this.panes[0].axis(2);
      const ends = [affine[2][3], affine[2][3] + affine[2][axis] * (shape[axis] - 1)].sort((p, q) => p - q);
      const slice = this.fields.slice = element("input", { type: "range", min: ends[0], max: ends[1], step: Math.abs(affine[2][axis]), value: state.xyz[2],
        oninput: () => this.go([state.xyz[0], state.xyz[1], Number(slice.value)]) });
      add("Axial slice", slice);
      add("Dragging", select(Object.entries(TOOLS).map(([k, [text]]) => [k, text]), state.tool, (v) => this.set({ tool: v })));
      add("Sphere", select([["0", "None"], ["10", "10 mm"], ["20", "20 mm"], ["30", "30 mm"]], String(state.sphere), (v) => this.set({ sphere: Number(v) })));
      return bar;
    }

    /* A preset and two numbers per image; for PET a slider too. */
    windowFields(bar, pane, i) {
      const { state } = this;
      const presets = WINDOWS[pane.modality] || [["Full", 0, pane.span[1]], ["Usual", ...pane.window], ["Dark tissue", 0, pane.window[1] / 2]];
      const list = select([...presets.map((p, k) => [String(k), p[0]]), ["own", "Own numbers"]], "own", (v) => { if (v !== "own") this.window(i, presets[v].slice(1)); });
      bar.append(labelled("Window, " + pane.title, list));
      const step = pane.unit === "HU" ? 10 : pane.unit === "SUV" ? 0.5 : "any";
      const ends = [0, 1].map((k) => element("input", { type: "number", step, "aria-label": `${pane.title} window ${k ? "to" : "from"} (${pane.unit})`,
        onchange: () => this.window(i, ends.map((e) => e.valueAsNumber)) }));
      bar.append(element("div", { class: "umd-field umd-ends" }, ...ends));
      const slider = pane.unit === "SUV" ? element("input", { type: "range", min: 0.5, max: 20, step: 0.5, oninput: () => this.window(i, [state.windows[i][0], slider.valueAsNumber]) }) : null;
      if (slider) bar.append(labelled("SUV up to", slider));
      const refresh = () => {
        const [low, high] = state.windows[i], now = presets.findIndex((p) => p[1] === low && p[2] === high);
        list.value = now < 0 ? "own" : String(now);
        ends.forEach((end, k) => { end.value = Number(state.windows[i][k].toPrecision(4)); });
        if (slider) slider.value = high;
      };
      this.fields.windows[i] = refresh;
      refresh();
    }

    buttons() {
      const { state } = this;
      const button = (text, label, action) => element("button", { type: "button", title: label, "aria-label": label, onclick: action }, text);
      const toggle = (text, key, label) => {
        const node = button(text, label, () => { this.set({ [key]: !state[key] }); node.setAttribute("aria-pressed", String(state[key])); });
        node.setAttribute("aria-pressed", String(state[key]));
        return node;
      };
      return element("div", { class: "umd-buttons" },
        this.config.segmenters.length ? button("Largest error", "Go to the largest error, then to the next", () => this.nextError()) : null,
        this.config.segmenters.length > 1 ? this.besideButton(button) : null,
        this.config.details ? this.detailButton(button) : null,
        this.panes.some((p) => p.config.modality === "PET") ? toggle("MIP", "mip", "MIP of PET: maximum intensity projection that turns") : null,
        toggle("Crosshair", "cross", "Crosshair on or off"),
        button("+", "Zoom in (+)", () => this.zoom(1.25)), button("−", "Zoom out (−)", () => this.zoom(0.8)),
        this.fields.undo = button("Undo", "Undo the last change of the view (Ctrl+Z)", () => this.undo()),
        button("Reset", "Reset the view", () => this.restart()), button("Screenshot", "Save a screenshot", () => this.screenshot()),
        button("Link", "Copy a link to this view", () => this.link()), button("Full screen", "Full screen", () => this.fullscreen()),
        button("Close", "Close the viewer", () => { this.close(); this.button.focus(); }));
    }

    /* Two segmenters on the same slice: each image twice, the first segmenter on the left. */
    besideButton(button) {
      const node = this.fields.beside = button("Side by side", "Two segmenters side by side", () => this.setBeside(!this.state.beside));
      node.setAttribute("aria-pressed", String(this.state.beside));
      return node;
    }

    async setBeside(beside) {
      const { state, config, fields } = this;
      if (beside && !state.second) state.second = config.segmenters.find((s) => s.name !== state.segmenter).name;
      state.beside = beside;
      fields.second.value = state.second;
      fields.beside.setAttribute("aria-pressed", String(beside));
      try {
        await this.arrangeBeside();
      } catch (error) {
        state.beside = false;
        this.note("The second images could not be shown: " + error.message);
      }
      if (!this.panes) return;
      await this.set({});
      if (this.panes) this.go(state.xyz);
    }

    /* As many panes as the state asks for, one change after the other. */
    arrangeBeside() {
      this.arranging = (this.arranging || Promise.resolve()).catch(() => {}).then(() => this.panes && this.rearrange());
      return this.arranging;
    }

    async rearrange() {
      const images = this.panes.filter((p) => !p.first), seconds = this.panes.filter((p) => p.first);
      const { beside } = this.state;
      if (Boolean(seconds.length) === beside) return;
      this.board.classList.toggle("umd-beside", beside);
      const drop = (panes) => { for (const pane of panes) { pane.node.remove(); pane.release(); } };
      if (!beside) { this.panes = images; drop(seconds); return; }
      open.filter((v) => v !== this && v.state.beside).forEach((v) => v.close()); // a browser has few WebGL contexts
      const made = images.slice(0, this.body.length).map((pane) => new Pane(this, pane.config, pane.index, pane));
      try {
        for (const pane of made) {
          pane.first.node.after(pane.node);
          await pane.load(this.root, this.library);
          this.answers?.listenTo(pane);
        }
      } catch (error) {
        drop(made);
        this.board?.classList.remove("umd-beside");
        throw error;
      }
      if (this.panes) this.panes = images.flatMap((pane) => [pane, ...made.filter((m) => m.first === pane)]);
      else drop(made); // closed meanwhile
    }

    /* What the view was before each change; changes of one thing within a second are one. */
    remember() {
      const text = JSON.stringify(this.state), time = performance.now(), before = this.now;
      if (before?.text === text) return;
      this.now = { text, time };
      if (!before) return;
      const old = JSON.parse(before.text);
      this.now.keys = Object.keys(this.state).filter((k) => JSON.stringify(this.state[k]) !== JSON.stringify(old[k])).join();
      if (this.now.keys !== before.keys || time - before.time > 1000) this.past.push(before.text);
      this.past.splice(0, this.past.length - MOST_UNDONE);
    }

    async undo() {
      const text = this.past.pop();
      if (!text) { this.say("There is nothing to undo."); return; }
      this.now = { text, time: 0 };
      this.state = JSON.parse(text);
      await this.redraw();
    }

    /* The surroundings of the structure at a finer spacing, in panes of their own beside the body. */
    detailButton(button) {
      const { config, body, state } = this, shown = config.panes !== body;
      const node = button("Fine crop: " + config.details_of, `Fine crop: ${config.details_of} (${config.details_mb.toFixed(1)} MB)`, async () => {
        config.panes = shown ? body : [...body, ...config.details];
        state.windows = config.panes.map((p, i) => state.windows[i] || [...state.windows[body.findIndex((b) => b.modality === p.modality)]]);
        state.chosen = null;
        this.close();
        this.suit();
        await this.open();
      });
      node.setAttribute("aria-pressed", String(shown));
      return node;
    }

    /* The errors of all images from the largest on, one for each call. */
    nextError() {
      const { state } = this;
      const key = [state.structure, state.some, state.segmenter, state.step].join();
      if (this.wrong?.key !== key) this.wrong = { key, at: -1, list: this.panes.flatMap((p) => (p.first ? [] : p.errors())).sort((a, b) => b.ml - a.ml) };
      const { list } = this.wrong;
      if (!list.length) { this.say("Reference and prediction are the same here."); return; }
      this.wrong.at = (this.wrong.at + 1) % list.length;
      const error = list[this.wrong.at];
      this.go(error.mm);
      this.say(`Error ${this.wrong.at + 1} of ${list.length}: ${error.ml.toFixed(1)} ml ${error.what}, ${error.pane.config.title}.`);
    }

    say(words) {
      this.legend.querySelector(".umd-said")?.remove();
      this.legend.append(element("span", { class: "umd-said" }, words));
      this.live.textContent = words;
    }

    /* ---- the projection that turns ---- */

    showProjection() {
      if (!this.state.mip) { this.mip?.node.remove(); this.mip = null; clearInterval(this.turning); this.turning = 0; return; }
      if (!this.mip) this.makeProjection();
      this.drawProjection();
    }

    makeProjection() {
      const pane = this.panes.find((p) => p.config.modality === "PET");
      const projection = new Projection(pane.bytes, pane.shape, pane.affine, pane.spacing);
      const canvas = element("canvas", { class: "umd-projection", role: "img", "aria-label": "Maximum intensity projection of PET",
        onclick: (event) => {
          const box = canvas.getBoundingClientRect(), scale = Math.max(projection.width / box.width, projection.height / box.height);
          const column = Math.floor((event.clientX - box.left - box.width / 2) * scale + projection.width / 2);
          const row = Math.floor((event.clientY - box.top - box.height / 2) * scale + projection.height / 2);
          const mm = projection.hottest(this.state.angle, column, row);
          if (mm) this.go(mm);
        } });
      [canvas.width, canvas.height] = [ZOOM * projection.width, ZOOM * projection.height];
      const angle = element("input", { type: "range", min: 0, max: 350, step: 10, value: this.state.angle,
        oninput: () => { this.state.angle = angle.valueAsNumber; this.drawProjection(); } });
      const turn = element("button", { type: "button", "aria-pressed": "false", onclick: () => {
        if (this.turning) { clearInterval(this.turning); this.turning = 0; }
        else this.turning = setInterval(() => this.turn(10), 150);
        turn.setAttribute("aria-pressed", String(Boolean(this.turning)));
      } }, "Turn");
      const node = element("div", { class: "umd-pane umd-mip" }, element("div", { class: "umd-title" }, "PET, maximum intensity projection"),
        element("div", { class: "umd-canvas umd-light" }, canvas), element("div", { class: "umd-bar" }, labelled("Angle", angle), turn));
      this.mip = { node, canvas, projection, pane, angle };
      this.board.append(node);
    }

    turn(degrees) {
      if (!this.mip) return;
      this.state.angle = (this.state.angle + degrees + 360) % 360;
      this.mip.angle.value = this.state.angle;
      this.drawProjection();
    }

    drawProjection() {
      if (!this.mip) return;
      const { canvas, projection, pane } = this.mip;
      const { width, height, bytes } = projection.frame(this.state.angle);
      const [low, high] = this.state.windows[pane.index], { span } = pane.config;
      const grey = Uint8ClampedArray.from({ length: 256 }, (_, b) => 255 - (255 * (span[0] + (b * (span[1] - span[0])) / 255 - low)) / (high - low));
      const pen = canvas.getContext("2d"), small = element("canvas", { width, height }), image = new ImageData(width, height);
      for (let p = 0; p < bytes.length; p++) {
        image.data[4 * p] = image.data[4 * p + 1] = image.data[4 * p + 2] = grey[bytes[p]];
        image.data[4 * p + 3] = 255;
      }
      small.getContext("2d").putImageData(image, 0, 0);
      pen.drawImage(small, 0, 0, canvas.width, canvas.height);
      const [x, y] = projection.place(this.state.angle, this.state.xyz).map((c) => ZOOM * c);
      pen.strokeStyle = "#b0003a";
      pen.lineWidth = 1.5;
      pen.stroke(new Path2D(`M${x - 22} ${y}h16M${x + 6} ${y}h16M${x} ${y - 22}v16M${x} ${y + 6}v16`));
    }

    async set(change) {
      Object.assign(this.state, change);
      try {
        await this.show();
        if (this.failed) { this.failed = false; this.note(""); }
      } catch (error) {
        if (!this.panes) return;
        this.failed = true;
        this.panes.forEach((pane) => { pane.quiet = false; });
        this.note("This could not be shown: " + error.message);
      }
    }

    async show(draw = true) {
      const { state } = this;
      const change = (this.change = {});
      this.panes.forEach((pane) => { pane.quiet = true; });
      for (const pane of this.panes) {
        const image = pane.nv.volumes[0];
        [image.cal_min, image.cal_max] = state.windows[pane.index];
        pane.overlay.opacity = state.opacity;
        pane.nv.opts.dragModePrimary = TOOLS[state.tool][1];
        pane.nv.opts.crosshairWidth = state.cross ? 1 : 0;
        if (pane.layout !== state.layout) { pane.arrange(state.layout); pane.layout = state.layout; }
        if (pane.fused) {
          pane.fused.opacity = state.blend;
          [pane.fused.cal_min, pane.fused.cal_max] = state.windows[this.fusing(pane).index];
        }
        await pane.paint(this.root);
        if (change !== this.change || !this.panes) return; // a later change has taken over
      }
      for (const pane of this.panes) { pane.quiet = false; pane.colourBar(); if (draw) pane.nv.drawScene(); }
      this.showProjection();
      this.describe();
      this.figure.dataset.umdShown = Number(this.figure.dataset.umdShown || 0) + 1;
    }

    describe() {
      for (const pane of this.panes || []) {
        pane.heading.textContent = pane.config.title + (this.state.beside ? ": " + this.titled(pane.segmenter) : "");
        pane.readout.textContent = pane.describe(this.state.xyz);
      }
      if (this.panes) this.remember();
      if (this.fields?.slice) this.fields.slice.value = this.state.xyz[2];
      this.drawProjection();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        if (this.panes) this.live.textContent = this.panes.map((p) => p.heading.textContent + ": " + p.readout.textContent).join(". ");
      }, 600);
      this.explain();
    }

    titled(segmenter) { return this.config.segmenters.find((s) => s.name === segmenter)?.title || segmenter; }

    explain() {
      const { config, state } = this;
      const items = [];
      const swatch = (colour, text) => element("span", { class: "umd-key" }, element("i", { style: "background:" + colour }), text);
      if (state.overlay === "difference") {
        const words = { agree: "agreement", missed: "missed (false negative)", added: "added (false positive)", both: "wrong structure" };
        for (const k of DIFFERENCES) if (k !== "both" || state.structure < 0) items.push(swatch(config.difference[k], words[k]));
      } else if (state.overlay !== "none") {
        config.structures.forEach((s, k) => { if ((this.only() >>> k) & 1) items.push(swatch(s.colour, s.title)); });
      }
      const line = (kind, text) => element("span", { class: "umd-key" }, element("i", { class: "umd-line umd-" + kind }), text);
      if (state.outline === "reference" || state.outline === "both") items.push(line("solid", "reference"));
      if (state.outline === "prediction" || state.outline === "both") items.push(line("dashed", state.beside ? "prediction" : this.titled(state.segmenter)));
      if (state.second && !state.beside) items.push(line("dotted", this.titled(state.second)));
      const clicks = state.structure < 0 ? [] : this.panes.filter((p) => !p.first).slice(0, 2).flatMap((p) => p.clicks());
      const seen = new Set();
      for (const click of clicks) {
        const key = click.mm.join();
        if (seen.has(key)) continue;
        seen.add(key);
        items.push(element("button", { type: "button", class: "umd-click", onclick: () => this.go(click.mm) },
          (click.positive ? "+ click " : "− click ") + (click.order + 1)));
      }
      const state_key = JSON.stringify([state.overlay, state.structure, state.some, state.outline, state.second, state.beside, state.segmenter, [...seen]]);
      if (this.explained !== state_key || !this.legend.hasChildNodes()) this.legend.replaceChildren(...items);
      this.explained = state_key;
    }

    /* ---- place, zoom and rotation are one for both panes ---- */

    moved(pane, place) {
      if (this.busy || !this.panes || pane.nv.volumes.length < 2) return;
      this.state.xyz = Array.from(place.mm).slice(0, 3);
      this.follow(pane);
    }

    follow(pane) {
      if (this.busy || !this.panes || !pane.nv) return;
      this.busy = true;
      const { scene } = pane.nv;
      this.state.zoom = Array.from(scene.pan2Dxyzmm);
      this.state.turn = [scene.renderAzimuth, scene.renderElevation];
      for (const other of this.panes) {
        if (other === pane || !other.nv?.volumes.length) continue;
        pane.nv.doSync2d(other.nv);
        pane.nv.doSync3d(other.nv);
        other.nv.drawScene();
      }
      this.busy = false;
      this.describe();
    }

    /* A structure that lies elsewhere is brought into sight, by the first click into it. */
    seek() {
      const { state, config } = this;
      const name = config.structures[state.structure]?.name;
      const click = config.panes.flatMap((p) => p.predictions).flatMap((p) => p.clicks[name] || []).find((c) => c[3] === 1);
      if (click && Math.hypot(...click.slice(0, 3).map((v, k) => v - state.xyz[k])) > FAR) this.go(click.slice(0, 3));
    }

    go(mm) {
      this.busy = true;
      this.state.xyz = mm;
      for (const { nv } of this.panes) {
        nv.scene.crosshairPos = nv.mm2frac(mm);
        nv.scene.pan2Dxyzmm = Float32Array.from(this.state.zoom);
        nv.scene.volScaleMultiplier = this.state.zoom[3];
        [nv.scene.renderAzimuth, nv.scene.renderElevation] = this.state.turn;
        nv.drawScene();
      }
      this.busy = false;
      this.describe();
    }

    zoom(factor) {
      const { zoom, xyz } = this.state;
      const scale = Math.min(10, Math.max(0.5, zoom[3] * factor));
      // the crosshair keeps its place on the screen's centre once zoomed in
      this.state.zoom = scale <= 1 ? [0, 0, 0, scale] : [...xyz.map((v, i) => this.centre()[i] - v), scale];
      this.go(xyz);
    }

    centre() {
      const { nv } = this.panes[0];
      return Array.from(nv.frac2mm([0.5, 0.5, 0.5])).slice(0, 3);
    }

    key(pane, event) {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const step = Math.min(...pane.spacing);
      const moves = {
        ArrowLeft: [step, 0, 0], ArrowRight: [-step, 0, 0], ArrowUp: [0, 0, step], ArrowDown: [0, 0, -step],
        PageUp: [0, step, 0], PageDown: [0, -step, 0],
      };
      if (moves[event.key]) this.go(this.state.xyz.map((v, i) => v + moves[event.key][i]));
      else if (event.key === "+" || event.key === "=") this.zoom(1.25);
      else if (event.key === "-") this.zoom(0.8);
      else return;
      event.preventDefault();
    }

    restart() {
      this.reset();
      return this.redraw();
    }

    /* Controls and images as a state that was put back has them. */
    async redraw() {
      this.stage.querySelector(".umd-bars").replaceWith(this.controls());
      if (!this.stage.contains(document.activeElement)) this.fields.undo.focus({ preventScroll: true }); // its button is a new one
      this.panes.forEach((p) => { p.layout = ""; });
      await this.arrangeBeside();
      if (!this.panes) return;
      await this.show(false);
      if (this.panes) this.go(this.state.xyz);
    }

    /* ---- picture, link, full screen ---- */

    screenshot() {
      const parts = this.panes.map((pane) => pane.picture());
      const line = 26, columns = this.state.beside ? 2 : parts.length;
      const [width, height] = ["width", "height"].map((side) => Math.max(...parts.map((p) => p[side])));
      const page = document.createElement("canvas");
      page.width = columns * width;
      page.height = Math.ceil(parts.length / columns) * (height + line) + line;
      const pen = page.getContext("2d");
      pen.fillStyle = "#111";
      pen.fillRect(0, 0, page.width, page.height);
      pen.fillStyle = "#fff";
      pen.font = "15px sans-serif";
      pen.fillText(this.config.title, 8, 18);
      parts.forEach((part, i) => {
        const left = (i % columns) * width, top = line + Math.floor(i / columns) * (height + line);
        pen.drawImage(part, left, top);
        pen.fillText(this.panes[i].heading.textContent + ": " + this.panes[i].readout.textContent, left + 8, top + height + 18, width - 16);
      });
      page.toBlob((blob) => {
        const link = element("a", { href: URL.createObjectURL(blob), download: this.config.name + ".png" });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      });
    }

    address() {
      const { state, config } = this;
      const words = new URLSearchParams({
        viewer: config.name, structure: state.structure < 0 ? "" : config.structures[state.structure].name, overlay: state.overlay,
        segmenter: state.segmenter, step: state.step, opacity: state.opacity, layout: state.layout,
        outline: state.outline, surface: state.surface, second: state.second, beside: Number(state.beside), blend: state.blend, sphere: state.sphere, some: state.some, mip: Number(state.mip), angle: state.angle,
        xyz: state.xyz.map((v) => v.toFixed(1)).join("_"), zoom: state.zoom.map((v) => Number(v).toFixed(2)).join("_"),
        turn: state.turn.map((v) => Number(v).toFixed(0)).join("_"), windows: state.windows.map((w) => w.join("_")).join("__"),
      });
      return "#" + words.toString();
    }

    restore(words) {
      const numbers = (key, count) => {
        const list = (words.get(key) || "").split("_").map(Number);
        return list.length === count && list.every(Number.isFinite) ? list : null;
      };
      const { state, config } = this;
      const known = (key, list) => { if (list.includes(words.get(key))) state[key] = words.get(key); };
      if (words.has("structure")) state.structure = config.structures.findIndex((s) => s.name === words.get("structure"));
      state.some = parseInt(words.get("some"), 10) || 0;
      if (state.some) state.structure = state.structure < 0 ? -2 : state.structure;
      known("outline", Object.keys(OUTLINES));
      known("surface", Object.keys(OUTLINES));
      known("second", config.segmenters.map((s) => s.name));
      for (const [key, low, high] of [["blend", 0, 1], ["sphere", 0, 100], ["angle", 0, 359]]) state[key] = Math.min(high, Math.max(low, Number(words.get(key)) || 0));
      state.mip = words.get("mip") === "1";
      state.beside = words.get("beside") === "1" && state.second !== "";
      this.suit();
      known("overlay", Object.keys(OVERLAYS));
      known("layout", Object.keys(LAYOUTS));
      known("segmenter", config.segmenters.map((s) => s.name));
      state.step = Math.max(0, parseInt(words.get("step"), 10) || 0);
      state.opacity = (numbers("opacity", 1) || [state.opacity])[0];
      state.xyz = numbers("xyz", 3) || state.xyz;
      state.zoom = numbers("zoom", 4) || state.zoom;
      state.turn = numbers("turn", 2) || state.turn;
      const windows = (words.get("windows") || "").split("__").map((w) => w.split("_").map(Number));
      if (windows.length === config.panes.length && windows.flat().every(Number.isFinite)) {
        state.windows = windows;
        state.chosen = windows.map(() => true);
      }
    }

    async link() {
      const url = location.href.split("#")[0] + this.address();
      if (!self.UMD_ENGINE) history.replaceState(null, "", this.address());
      let said = "The link to this view is in the address bar.";
      try { await navigator.clipboard.writeText(url); said = "The link to this view is on the clipboard."; } catch { /* not allowed here: the address bar has it */ }
      this.say(said);
    }

    fullscreen() {
      if (document.fullscreenElement) document.exitFullscreen();
      else this.stage.requestFullscreen?.();
    }
  }

  function start() {
    const words = new URLSearchParams(location.hash.slice(1));
    for (const figure of document.querySelectorAll("figure.umd-viewer")) {
      if (figure.umd) continue;
      figure.umd = new Viewer(figure);
      if (words.get("viewer") === figure.umd.config.name) {
        figure.umd.restore(words);
        figure.scrollIntoView();
        figure.umd.open();
      }
    }
  }

  /* For pages that make figures of their own: a packed record, and a figure's viewer set to a structure and segmenter. */
  async function loadRecord(root, name) {
    return JSON.parse(new TextDecoder().decode(await loadVolume(root, name, "records/")));
  }

  function show(figure, { structure, segmenter, step }) {
    const viewer = (figure.umd ||= new Viewer(figure));
    const at = viewer.config.structures.findIndex((s) => s.name === structure);
    if (at >= 0) viewer.state.structure = at;
    if (viewer.config.segmenters.some((s) => s.name === segmenter)) viewer.state.segmenter = segmenter;
    viewer.state.step = step;
    viewer.suit();
    return viewer;
  }

  self.UMD_VIEWER = { loadRecord, show };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
