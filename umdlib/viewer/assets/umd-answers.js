/* Asks networks in the page: a click in an image, and the masks that they return. Classic script; umd-viewer.js loads it where a figure has networks. */
(function () {
  "use strict";
  const RUNTIME = "onnxruntime-web-1.30.0";
  const MISSING = "The networks need WebAssembly with SIMD and Web Workers, which this browser does not offer here. The viewer works without them.";
  const MOST_KEPT = 12; // clicks that can be taken back: each keeps its masks
  const { measure } = self.UMD_MASKS;

  class Answers {
    constructor(viewer, tools) {
      Object.assign(this, { viewer, tools, turn: 0, count: 0, waiting: new Map(), history: [] });
      const { element } = tools, { mb, items } = viewer.config.networks;
      this.load = element("button", { type: "button", onclick: () => this.start() }, `Load the networks (${mb.toFixed(1)} MB)`);
      const act = (text, action) => element("button", { type: "button", onclick: action }, text);
      this.acts = element("span", { class: "umd-buttons", hidden: true },
        act("Ask at the crosshair", () => this.ask(viewer.panes[0])), act("Correct: add here (+)", () => this.ask(viewer.panes[0], 1)), act("Correct: remove here (−)", () => this.ask(viewer.panes[0], 0)), act("Take back the last click", () => this.undo()));
      this.status = element("p", { class: "umd-said", role: "status" }, `${items.length === 1 ? "One network answers" : items.length + " networks answer"} clicks in this page, without a server.`);
      this.table = element("div", {});
      this.node = element("div", { class: "umd-answers" }, element("div", { class: "umd-buttons" }, this.load, this.acts), this.status, this.table);
    }

    /* The images that the networks know: a crop beside them is for looking. */
    get panes() { return this.viewer.panes.filter((p) => p.config.grid && !p.first); }

    /* The answers to the last click: structure, clicks so far, masks by network and image. */
    get last() { return this.history[this.history.length - 1]; }

    say(words) { this.status.textContent = words; }

    /* A message to the worker, and its answer. */
    send(message, moved = []) {
      const id = ++this.count;
      return new Promise((resolve, reject) => {
        this.waiting.set(id, { resolve, reject });
        this.worker.postMessage({ ...message, id }, moved);
      });
    }

    async start() {
      const { viewer } = this;
      if (typeof WebAssembly === "undefined" || typeof Worker === "undefined") { this.say(MISSING); return; }
      this.load.disabled = true;
      this.say("Loading the networks …");
      try {
        await this.begin();
        const begun = performance.now(), { items } = viewer.config.networks;
        this.listen();
        this.load.hidden = true;
        this.acts.hidden = false;
        const jobs = items.flatMap(({ name }) => this.panes.map((_, pane) => ({ network: name, pane })));
        for (const [n, job] of jobs.entries()) {
          if (!this.turn) this.say(`Click inside a structure in either image. Reading the images, once for each network: ${n + 1} of ${jobs.length} …`);
          await this.send({ action: "encode", ...job });
        }
        if (!this.turn) this.say(`Click inside a structure in either image. The images were read in ${((performance.now() - begun) / 1000).toFixed(1)} s.`);
        viewer.figure.dataset.umdNetworks = "ready";
      } catch (error) {
        this.stop();
        this.load.disabled = false;
        if (viewer.panes) this.say(/wasm|WebAssembly|simd/i.test(error.message) ? MISSING : "The networks could not be loaded: " + error.message);
      }
    }

    async begin() {
      const { viewer, tools } = this, { root } = viewer;
      const of = async (name, folder) => tools.loadVolume(root, name, folder);
      if (!(self.UMD_VOLUMES || {})[RUNTIME + ".wasm"]) await tools.loadScript(root + "vendor/" + RUNTIME + ".js");
      const text = async (name) => new TextDecoder().decode(await of(name));
      const glue = await text(RUNTIME + ".mjs");
      const files = [];
      for (const { name, file } of viewer.config.networks.items) files.push({ name, file: await of(file, "volumes/") });
      this.worker = new Worker(URL.createObjectURL(new Blob([await text(RUNTIME + ".js"), "\n", await text("click-worker.js")], { type: "text/javascript" })));
      this.worker.onerror = (event) => { for (const { reject } of this.waiting.values()) reject(new Error(event.message || "the worker stopped")); this.waiting.clear(); };
      this.worker.onmessage = ({ data }) => {
        const { resolve, reject } = this.waiting.get(data.id) || {};
        this.waiting.delete(data.id);
        if (data.error) reject?.(new Error(data.error));
        else resolve?.(data.result);
      };
      await this.send({ action: "start", glue, binary: await of(RUNTIME + ".wasm"), files });
      for (const [pane, { config }] of this.panes.entries()) {
        const { shape, affine, values } = config.grid;
        await this.send({ action: "image", pane, shape, affine, unit: config.unit, half: await of(values, "volumes/") });
      }
    }

    stop() {
      this.turn = 0;
      this.history = [];
      this.worker?.terminate();
      this.worker = null;
      this.waiting.clear();
      // the masks go with the images: an opened-again viewer begins without answers
      for (const pane of this.viewer.config.panes) pane.predictions = pane.predictions.filter((p) => !p.bits.startsWith("asked "));
      delete this.viewer.figure.dataset.umdNetworks;
    }

    /* A click in an image that does not drag asks there. */
    listen() { for (const pane of this.viewer.panes) this.listenTo(pane); }

    listenTo(pane) {
      let from = null;
      pane.canvas.addEventListener("pointerdown", (event) => { from = event.button === 0 ? [event.clientX, event.clientY] : null; });
      pane.canvas.addEventListener("click", (event) => {
        const still = from && Math.hypot(event.clientX - from[0], event.clientY - from[1]) < 4;
        if (this.worker && still && this.viewer.state.tool === "crosshair") requestAnimationFrame(() => this.ask(pane));
      });
    }

    /* The structure of the reference at a point, the smaller of several: in the image that was clicked, else in the other. */
    structure(pane, mm) {
      const sizes = (bits, k) => bits.reduce((sum, b) => sum + ((b >>> k) & 1), 0);
      for (const one of [pane, ...this.viewer.panes.filter((p) => p !== pane)]) {
        const at = one.voxel(mm), bits = one.reference && at >= 0 ? one.reference[at] : 0;
        const here = this.viewer.config.structures.map((_, k) => k).filter((k) => (bits >>> k) & 1);
        if (here.length) return here.reduce((a, b) => (sizes(one.reference, b) < sizes(one.reference, a) ? b : a));
      }
      return -1;
    }

    /* Asks every network in every image; a sign corrects the last answer, none asks anew. */
    async ask(pane, sign = -1) {
      const { viewer } = this, known = viewer.config.networks.items.map(({ name }) => name);
      const first = known.includes(viewer.state.segmenter) ? viewer.state.segmenter : known[0], names = [first, ...known.filter((n) => n !== first)];
      const mm = viewer.state.xyz.map(Number), corrects = sign >= 0, { last } = this;
      if (corrects && !last) { this.say("There is no answer yet that could be corrected. Click inside a structure first."); return; }
      if (!corrects && last && mm.every((v, k) => v === last.clicks[last.clicks.length - 1][k])) return; // a click beside the image moves nothing
      const structure = corrects ? last.structure : this.structure(pane, mm);
      if (structure < 0) { this.say("No structure of the reference lies at this point. Click inside one."); return; }
      const turn = ++this.turn, clicks = corrects ? [...last.clicks, [...mm, sign]] : [[...mm, 1]];
      const before = corrects ? last.found : new Map(), answer = { structure, clicks, found: new Map() };
      this.history.push(answer);
      this.history.splice(0, this.history.length - MOST_KEPT);
      const title = viewer.config.structures[structure].title.toLowerCase();
      this.say(`Asking for the ${title} …`);
      try {
        for (const [n, name] of names.entries()) {
          for (const [i, one] of this.panes.entries()) {
            if (one.voxel(mm) < 0) continue;
            const key = name + " " + i, previous = before.get(key)?.mask || null;
            const { mask, seconds } = await this.send({ action: "answer", network: name, pane: i, clicks, previous, page: { shape: one.shape, affine: one.affine } });
            if (turn !== this.turn || !viewer.panes) return; // a later click has taken over, or the viewer is closed
            answer.found.set(key, { mask, seconds });
            this.record(one, name, structure, mask, clicks);
            this.show();
          }
          if (!n) await this.draw(structure, name); // the one that is looked at is shown at once
        }
        if (viewer.state.beside) await viewer.set({}); // the second one came later
        const total = [...answer.found.values()].reduce((sum, { seconds }) => sum + seconds, 0);
        this.say(`${clicks.length} click${clicks.length > 1 ? "s" : ""} for the ${title}: ${answer.found.size} masks in ${total.toFixed(2)} s.`);
        viewer.figure.dataset.umdAnswered = Number(viewer.figure.dataset.umdAnswered || 0) + 1;
      } catch (error) {
        this.history = this.history.filter((a) => a !== answer);
        if (viewer.panes) this.say("The networks gave no answer: " + error.message);
      }
    }

    /* Takes the last click back: its structure has again the masks that it had before, or none. */
    async undo() {
      const { viewer } = this, gone = this.history.pop();
      if (!gone) { this.say("There is no click to take back."); return; }
      ++this.turn; // answers on their way come too late
      const earlier = this.history.filter((a) => a.structure === gone.structure).pop();
      for (const { name } of viewer.config.networks.items) {
        for (const [i, pane] of this.panes.entries()) {
          if (earlier || pane.cache.has("asked " + name)) this.record(pane, name, gone.structure, earlier?.found.get(name + " " + i)?.mask, earlier?.clicks);
        }
      }
      const { last } = this, structure = (last || gone).structure;
      if (last) this.show();
      else this.table.replaceChildren();
      await this.draw(structure, viewer.state.segmenter, last ? "difference" : "reference");
      if (last) viewer.go(last.clicks[last.clicks.length - 1].slice(0, 3));
      const title = viewer.config.structures[structure].title.toLowerCase();
      this.say(last ? `The last click was taken back. ${last.clicks.length} click${last.clicks.length > 1 ? "s" : ""} for the ${title}.` : "The only click was taken back. Click inside a structure.");
    }

    /* The mask, or none, as a prediction of the viewer, with its DSC. */
    record(pane, name, structure, mask = null, clicks = []) {
      const { config } = this.viewer, key = "asked " + name;
      const bits = pane.cache.get(key) || new pane.maskArray(pane.size);
      pane.cache.set(key, bits);
      let both = 0, found = 0, wanted = 0;
      for (let v = 0; v < pane.size; v++) {
        const inside = mask ? mask[v] : 0, right = pane.reference ? (pane.reference[v] >>> structure) & 1 : 0;
        bits[v] = inside ? bits[v] | (1 << structure) : bits[v] & ~(1 << structure);
        found += inside;
        wanted += right;
        both += inside & right;
      }
      let own = pane.config.predictions.find((p) => p.bits === key);
      if (!own) pane.config.predictions.push((own = { segmenter: name, step: 0, bits: key, dice: config.structures.map(() => null), clicks: {} }));
      own.turn = this.turn; // its surfaces are made anew
      own.dice[structure] = mask && found + wanted ? (2 * both) / (found + wanted) : null;
      own.clicks[config.structures[structure].name] = clicks;
    }

    async draw(structure, segmenter, overlay = "difference") {
      const { viewer } = this, { state, fields } = viewer;
      const change = { segmenter, overlay: state.overlay === "none" ? "none" : overlay, structure };
      for (const key of ["segmenter", "overlay"]) if (fields[key]) fields[key].value = change[key];
      if (fields.structure) fields.structure.value = String(structure);
      viewer.wrong = null;
      await viewer.set(change);
      fields.solid?.();
    }

    /* DSC and mean intensity of every network in every image, beside the reference. */
    show() {
      const { element } = this.tools, { viewer, panes } = this, { config } = viewer, { structure, clicks, found } = this.last;
      const number = (v, digits) => (v === null || v === undefined ? "–" : v.toFixed(digits).replace("-", "−"));
      const mean = (pane, inside) => measure(pane.size, inside, (v) => pane.number(v))?.mean;
      const digits = (pane) => (pane.config.unit === "SUV" ? 2 : 0);
      const cells = (pane, dice, inside) => [element("td", {}, number(dice, 3)), element("td", {}, number(inside && mean(pane, inside), digits(pane)))];
      const rows = config.networks.items.map(({ name, title }) => {
        const answers = panes.map((_, i) => found.get(name + " " + i));
        const seconds = answers.reduce((sum, a) => sum + (a?.seconds || 0), 0);
        return element("tr", {}, element("th", { scope: "row" }, element("button", { type: "button", "aria-label": `${title}: show in the images`, onclick: () => { viewer.fields.segmenter.value = name; viewer.set({ segmenter: name }); } }, title)),
          ...panes.flatMap((pane, i) => cells(pane, answers[i] ? pane.config.predictions.find((p) => p.bits === "asked " + name).dice[structure] : null, answers[i] ? (v) => answers[i].mask[v] : null)),
          element("td", {}, answers.some(Boolean) ? seconds.toFixed(2) : "–"));
      });
      const reference = element("tr", {}, element("th", { scope: "row" }, "Reference"),
        ...panes.flatMap((pane) => cells(pane, null, pane.reference ? (v) => (pane.reference[v] >>> structure) & 1 : null)), element("td", {}, "–"));
      const head = ["Network", ...panes.flatMap(({ config: c }) => [`DSC, ${c.title}`, `${c.unit} mean, ${c.title}`]), "Seconds"];
      const named = config.structures[structure].title, here = clicks[clicks.length - 1].slice(0, 3).map((v) => v.toFixed(0).replace("-", "−")).join(", ");
      this.table.replaceChildren(element("div", { class: "umd-scroll", tabindex: "0", role: "region", "aria-label": "Answers to the last click" },
        element("table", { class: "table" }, element("caption", {}, `${named}: ${clicks.length === 1 ? "one click" : clicks.length + " clicks, last"} at ${here} mm`),
          element("thead", {}, element("tr", {}, ...head.map((h) => element("th", { scope: "col" }, h)))), element("tbody", {}, ...rows, reference))));
    }
  }

  self.UMD_ANSWERS = { Answers };
})();
