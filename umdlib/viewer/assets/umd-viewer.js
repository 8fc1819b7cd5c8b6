/* Opens a figure of umdlib.viewers: one or two images side by side with masks and clicks.
   Classic script without dependencies; NiiVue and the volumes are loaded when a figure is opened. */
(function () {
  "use strict";

  const ENGINE = "vendor/niivue-0.69.0.umd.js";
  const MOST_OPEN = 3; // browsers keep about 16 WebGL contexts and drop the oldest silently
  const DIFFERENCES = ["agree", "missed", "added", "both"];
  const OVERLAYS = { none: "None", reference: "Reference", prediction: "Prediction", difference: "Difference" };
  const LAYOUTS = { planes: "Three planes and 3D", axial: "Axial", coronal: "Coronal", sagittal: "Sagittal", render: "3D" };
  const SLICE = { axial: 0, coronal: 1, sagittal: 2, render: 4 };
  const PLANES = {
    tall: [[1, 0, 0, 0.36, 1], [2, 0.36, 0, 0.28, 1], [0, 0.64, 0, 0.36, 0.42], [4, 0.64, 0.42, 0.36, 0.58]],
    flat: [[1, 0, 0, 0.5, 0.5], [2, 0.5, 0, 0.5, 0.5], [0, 0, 0.5, 0.5, 0.5], [4, 0.5, 0.5, 0.5, 0.5]],
  };
  const WINDOWS = {
    CT: [["Soft tissue, −160 to 240 HU", -160, 240], ["Lung, −1000 to 150 HU", -1000, 150],
      ["Bone, −450 to 1000 HU", -450, 1000], ["Brain, 0 to 80 HU", 0, 80], ["All, −1024 to 1016 HU", -1024, 1016]],
    PET: [["SUV 0 to 2.5", 0, 2.5], ["SUV 0 to 5", 0, 5], ["SUV 0 to 10", 0, 10], ["SUV 0 to 20", 0, 20]],
  };
  const SVG = "http://www.w3.org/2000/svg";
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

  async function loadVolume(root, name) {
    if (!(self.UMD_VOLUMES || {})[name]) await loadScript(root + "volumes/" + name + ".js");
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
    constructor(viewer, config) {
      this.viewer = viewer;
      this.config = config;
      this.cache = new Map();
      this.canvas = element("canvas", {
        tabindex: "0", role: "application", "aria-roledescription": "image viewer",
        "aria-label": config.title + ". Arrow keys move the crosshair left, right, up and down in the body, Page Up and Page Down forward and back, plus and minus zoom.",
      });
      this.marks = document.createElementNS(SVG, "svg");
      for (const [key, value] of [["class", "umd-marks"], ["aria-hidden", "true"], ["preserveAspectRatio", "none"]]) this.marks.setAttribute(key, value);
      this.readout = element("output", { class: "umd-readout" }, " ");
      this.node = element("div", { class: "umd-pane" },
        element("div", { class: "umd-title" }, config.title),
        element("div", { class: "umd-canvas" }, this.canvas, this.marks), this.readout);
    }

    async load(root, library) {
      const buffer = await loadVolume(root, this.config.image);
      this.read(buffer);
      if (this.config.reference) this.reference = await this.bits(root, this.config.reference);
      const light = this.config.modality === "PET"; // PET on white: dark is hot
      const nv = this.nv = new library.Niivue({
        isRadiologicalConvention: true, sagittalNoseLeft: true, backColor: light ? [1, 1, 1, 1] : [0, 0, 0, 1],
        fontColor: light ? [0.1, 0.1, 0.1, 1] : [0.9, 0.9, 0.9, 1], crosshairColor: light ? [0.75, 0, 0.35, 0.9] : [1, 0.85, 0.1, 0.9],
        crosshairWidth: 1, crosshairWidthUnit: "mm", crosshairGap: 8, show3Dcrosshair: true, dragMode: 3, isColorbar: false, logLevel: "silent",
        dragAndDropEnabled: false, loadingText: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "", viewModeHotKey: "",
        yoke3Dto2DZoom: true, fontMinPx: 14, isAntiAlias: true,
      });
      // its letter keys, its double click (which resets the window) and its wheel (which holds the page) stay off
      nv.keyDownListener = nv.keyUpListener = nv.resetBriCon = () => {};
      const wheel = nv.wheelListener.bind(nv);
      nv.wheelListener = (event) => { if (document.activeElement === this.canvas) wheel(event); };
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
      nv.onLocationChange = (place) => this.viewer.moved(this, place);
      for (const kind of ["pointermove", "pointerup", "wheel", "touchmove", "touchend"]) {
        this.canvas.addEventListener(kind, () => requestAnimationFrame(() => this.viewer.follow(this)), { passive: true });
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
        const kind = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[this.viewer.config.bytes];
        this.cache.set(name, new kind(buffer));
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

    chosen() {
      const { segmenter, step } = this.viewer.state;
      const own = this.config.predictions.filter((p) => p.segmenter === segmenter);
      const earlier = own.filter((p) => p.step <= step);
      return earlier.length ? earlier.reduce((a, b) => (b.step > a.step ? b : a)) : null;
    }

    async paint(root) {
      const chosen = this.chosen();
      this.prediction = chosen ? await this.bits(root, chosen.bits) : null;
      const { overlay, structure } = this.viewer.state;
      const count = this.viewer.config.structures.length;
      const only = structure < 0 ? (2 ** count - 1) >>> 0 : (1 << structure) >>> 0;
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
      this.nv.updateGLVolume();
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

    names(bits, at, only = -1) {
      if (!bits || at < 0) return [];
      return this.viewer.config.structures.filter((_, b) => (only < 0 || b === only) && (bits[at] >>> b) & 1).map((s) => s.title.toLowerCase());
    }

    clicks() {
      const { structure } = this.viewer.state;
      const chosen = this.chosen();
      if (!chosen) return [];
      return Object.entries(chosen.clicks)
        .filter(([name]) => structure < 0 || this.viewer.config.structures[structure].name === name)
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
      } else if (state.segmenter) parts.push("no prediction of this segmenter");
      return parts.join(" · ");
    }

    /* Where the clicks of the prompt lie on the slices, in pixels of the canvas. */
    places() {
      const clicks = this.clicks();
      if (!clicks.length || this.nv.volumes.length < 2) return [];
      const here = Array.from(this.nv.frac2mm(this.nv.scene.crosshairPos));
      const places = [];
      for (const tile of this.nv.screenSlices) {
        if (tile.axCorSag > 2) continue;
        const [across, up, depth] = [[0, 1, 2], [0, 2, 1], [1, 2, 0]][tile.axCorSag];
        let [left, top, width, height] = tile.leftTopWidthHeight;
        const mirrored = width < 0;
        if (mirrored) { left += width; width = -width; }
        for (const click of clicks) {
          const away = Math.abs(click.mm[depth] - here[depth]);
          const x = (click.mm[across] - tile.leftTopMM[0]) / tile.fovMM[0];
          const y = (click.mm[up] - tile.leftTopMM[1]) / tile.fovMM[1];
          if (away > 12 || Math.abs(x - 0.5) > 0.5 || Math.abs(y - 0.5) > 0.5) continue;
          // fainter where the slice lies beside the click
          places.push({ x: left + (mirrored ? 1 - x : x) * width, y: top + (1 - y) * height, positive: click.positive, opacity: away <= 4 ? 1 : 0.45 });
        }
      }
      return places;
    }

    /* A ring with a cross (positive) or a bar (negative). */
    drawMarks() {
      const scale = this.canvas.width / Math.max(this.canvas.clientWidth, 1);
      const drawn = this.places().map((p) => MARK.map(([plus, minus, width]) =>
        `<path d="${markPath(p, scale)}" opacity="${p.opacity}" fill="none" stroke="${p.positive ? plus : minus}" stroke-width="${width * scale}"/>`).join(""));
      this.marks.setAttribute("viewBox", `0 0 ${this.canvas.width} ${this.canvas.height}`);
      this.marks.innerHTML = drawn.join("");
    }

    picture() {
      this.nv.drawScene();
      const copy = document.createElement("canvas");
      [copy.width, copy.height] = [this.canvas.width, this.canvas.height];
      const pen = copy.getContext("2d");
      pen.drawImage(this.canvas, 0, 0);
      const scale = copy.width / Math.max(this.canvas.clientWidth, 1);
      for (const place of this.places()) {
        for (const [plus, minus, width] of MARK) {
          [pen.globalAlpha, pen.strokeStyle, pen.lineWidth] = [place.opacity, place.positive ? plus : minus, width * scale];
          pen.stroke(new Path2D(markPath(place, scale)));
        }
      }
      return copy;
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
      if (picture.complete && !picture.naturalWidth) mend();
      picture.addEventListener("error", mend, { once: true });
      this.button = figure.querySelector(".umd-open");
      this.button.addEventListener("click", () => this.open());
      this.reset();
      this.lut = this.colours();
    }

    reset() {
      const { start, structures } = this.config;
      this.state = {
        structure: structures.findIndex((s) => s.name === start.structure), overlay: start.overlay,
        segmenter: start.segmenter, step: start.step, opacity: 0.5, layout: "planes",
        windows: this.config.panes.map((p) => p.window), xyz: start.xyz, zoom: [0, 0, 0, 1], turn: [160, 10],
      };
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
        this.panes = this.config.panes.map((p) => new Pane(this, p));
        this.build();
        open.push(this);
        for (const pane of this.panes) {
          await pane.load(this.root, library);
          if (!this.panes) { this.note(""); return; } // closed meanwhile
        }
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
      this.observer?.disconnect();
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
      this.stage = element("div", { class: "umd-stage", role: "group", "aria-label": this.config.title },
        this.controls(), element("div", { class: "umd-panes" }, ...this.panes.map((p) => p.node)), this.legend, this.live);
      this.poster.after(this.stage);
      this.figure.classList.add("umd-is-open");
      this.stage.querySelector("select")?.focus({ preventScroll: true });
    }

    controls() {
      const { config, state } = this;
      const bar = element("div", { class: "umd-bar" });
      const add = (text, control) => { bar.append(labelled(text, control)); return control; };
      add("Structure", select([["-1", "All structures"], ...config.structures.map((s, i) => [String(i), s.title])],
        String(state.structure), (v) => this.set({ structure: Number(v) })));
      const kinds = Object.entries(OVERLAYS).filter(([k]) => k === "none" || (k === "reference" ? config.panes.some((p) => p.reference) : config.segmenters.length));
      add("Overlay", select(kinds, state.overlay, (v) => this.set({ overlay: v })));
      if (config.segmenters.length) add("Segmenter", select(config.segmenters.map((s) => [s.name, s.title]), state.segmenter, (v) => this.set({ segmenter: v })));
      const last = Math.max(0, ...config.panes.flatMap((p) => p.predictions.map((q) => q.step)));
      if (last) {
        const shown = element("b", {}, String(state.step));
        const slider = element("input", { type: "range", min: 0, max: last, step: 1, value: state.step, 
          oninput: () => { shown.textContent = slider.value; this.set({ step: Number(slider.value) }); } });
        add([config.step_title + ": ", shown], slider);
      }
      const opacity = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: state.opacity, oninput: () => this.set({ opacity: Number(opacity.value) }) });
      add("Opacity", opacity);
      config.panes.forEach((pane, i) => {
        const presets = WINDOWS[pane.modality] || [["Full", 0, pane.span[1]], ["Usual", ...pane.window], ["Dark tissue", 0, pane.window[1] / 2]];
        const now = presets.findIndex((p) => p[1] === state.windows[i][0] && p[2] === state.windows[i][1]);
        add("Window, " + pane.title, select(presets.map((p, k) => [String(k), p[0]]), String(Math.max(now, 0)),
          (v) => { state.windows[i] = presets[v].slice(1); this.set({}); }));
      });
      add("View", select(Object.entries(LAYOUTS), state.layout, (v) => this.set({ layout: v })));
      const button = (text, label, action) => element("button", { type: "button", title: label, "aria-label": label, onclick: action }, text);
      bar.append(element("div", { class: "umd-buttons" },
        button("+", "Zoom in", () => this.zoom(1.25)), button("−", "Zoom out", () => this.zoom(0.8)),
        button("Reset", "Reset the view", () => this.restart()), button("Screenshot", "Save a screenshot", () => this.screenshot()),
        button("Link", "Copy a link to this view", () => this.link()), button("Full screen", "Full screen", () => this.fullscreen()),
        button("Close", "Close the viewer", () => { this.close(); this.button.focus(); })));
      return bar;
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
      for (const [i, pane] of this.panes.entries()) {
        const image = pane.nv.volumes[0];
        [image.cal_min, image.cal_max] = state.windows[i];
        pane.overlay.opacity = state.opacity;
        if (pane.layout !== state.layout) { pane.arrange(state.layout); pane.layout = state.layout; }
        await pane.paint(this.root);
        if (change !== this.change || !this.panes) return; // a later change has taken over
      }
      for (const pane of this.panes) { pane.quiet = false; if (draw) pane.nv.drawScene(); }
      this.describe();
      this.figure.dataset.umdShown = Number(this.figure.dataset.umdShown || 0) + 1;
    }

    describe() {
      for (const pane of this.panes || []) pane.readout.textContent = pane.describe(this.state.xyz);
      clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        if (this.panes) this.live.textContent = this.panes.map((p) => p.config.title + ": " + p.readout.textContent).join(". ");
      }, 600);
      this.explain();
    }

    explain() {
      const { config, state } = this;
      const items = [];
      const swatch = (colour, text) => element("span", { class: "umd-key" }, element("i", { style: "background:" + colour }), text);
      if (state.overlay === "difference") {
        const words = { agree: "agreement", missed: "missed (false negative)", added: "added (false positive)", both: "wrong structure" };
        for (const k of DIFFERENCES) if (k !== "both" || state.structure < 0) items.push(swatch(config.difference[k], words[k]));
      } else if (state.overlay !== "none") {
        for (const s of state.structure < 0 ? config.structures : [config.structures[state.structure]]) items.push(swatch(s.colour, s.title));
      }
      const clicks = state.structure < 0 ? [] : this.panes[0].clicks().concat(this.panes.length > 1 ? this.panes[1].clicks() : []);
      const seen = new Set();
      for (const click of clicks) {
        const key = click.mm.join();
        if (seen.has(key)) continue;
        seen.add(key);
        items.push(element("button", { type: "button", class: "umd-click", onclick: () => this.go(click.mm) },
          (click.positive ? "+ click " : "− click ") + (click.order + 1)));
      }
      const state_key = JSON.stringify([state.overlay, state.structure, state.segmenter, [...seen]]);
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
      this.stage.querySelector(".umd-bar").replaceWith(this.controls());
      this.panes.forEach((p) => { p.layout = ""; });
      this.show(false).then(() => this.go(this.state.xyz));
    }

    /* ---- picture, link, full screen ---- */

    screenshot() {
      const parts = this.panes.map((pane) => pane.picture());
      const line = 26;
      const page = document.createElement("canvas");
      page.width = parts.reduce((sum, p) => sum + p.width, 0);
      page.height = Math.max(...parts.map((p) => p.height)) + 2 * line;
      const pen = page.getContext("2d");
      pen.fillStyle = "#111";
      pen.fillRect(0, 0, page.width, page.height);
      pen.fillStyle = "#fff";
      pen.font = "15px sans-serif";
      pen.fillText(this.config.title, 8, 18);
      let left = 0;
      parts.forEach((part, i) => {
        pen.drawImage(part, left, line);
        pen.fillText(this.panes[i].config.title + ": " + this.panes[i].readout.textContent, left + 8, page.height - 8, part.width - 16);
        left += part.width;
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
      state.structure = config.structures.findIndex((s) => s.name === words.get("structure"));
      known("overlay", Object.keys(OVERLAYS));
      known("layout", Object.keys(LAYOUTS));
      known("segmenter", config.segmenters.map((s) => s.name));
      state.step = Math.max(0, parseInt(words.get("step"), 10) || 0);
      state.opacity = (numbers("opacity", 1) || [state.opacity])[0];
      state.xyz = numbers("xyz", 3) || state.xyz;
      state.zoom = numbers("zoom", 4) || state.zoom;
      state.turn = numbers("turn", 2) || state.turn;
      const windows = (words.get("windows") || "").split("__").map((w) => w.split("_").map(Number));
      if (windows.length === config.panes.length && windows.flat().every(Number.isFinite)) state.windows = windows;
    }

    async link() {
      const url = location.href.split("#")[0] + this.address();
      if (!self.UMD_ENGINE) history.replaceState(null, "", this.address());
      let said = "The link to this view is in the address bar.";
      try { await navigator.clipboard.writeText(url); said = "The link to this view is on the clipboard."; } catch { /* not allowed here: the address bar has it */ }
      this.live.textContent = said;
      this.legend.append(element("span", { class: "umd-said" }, said));
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

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
