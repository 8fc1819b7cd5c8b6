/* Every score of a run as points; a point opens its subject in the viewer. Classic script; umd-viewer.js loads first or later. */
(function () {
  "use strict";
  const ALL = "";
  const PAGE = 20;
  const SORTS = { loss: "largest loss on PET", pet: "lowest on PET", structural: "lowest on the structural image", gain: "largest gain on PET" };
  const SVG = "http://www.w3.org/2000/svg";

  function element(tag, attributes, ...children) {
    const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.filter((c) => c !== null));
    return node;
  }

  class Explorer {
    constructor(root) {
      this.root = root;
      this.config = JSON.parse(root.querySelector("script[type='application/json']").textContent);
      const content = document.documentElement.getAttribute("data-content_root");
      this.assets = content !== null ? content + "umd/" : root.dataset.umdRoot;
      this.form = element("form", { class: "umd-filters", onsubmit: (event) => event.preventDefault() });
      this.chart = element("div", { class: "umd-strips" });
      this.list = element("div", {});
      this.status = element("p", { class: "umd-status", role: "status" }, "Loading the scores …");
      this.stage = element("div", { class: "umd-case" });
      root.append(this.form, this.status, this.stage, this.chart, this.list);
    }

    async start() {
      this.data = await self.UMD_VIEWER.loadRecord(this.assets, this.config.scores);
      const { names } = this.data;
      this.words = new URLSearchParams(location.hash.slice(1));
      const first = (key, wanted) => { const given = this.words.get(key); return names[key].map(String).includes(given) ? given : String(names[key].includes(wanted) ? wanted : names[key][0]); };
      this.pick = {
        session: first("session"), segmenter: names.segmenter.includes(this.words.get("segmenter")) ? this.words.get("segmenter") : names.segmenter[0],
        structure: names.structure.includes(this.words.get("structure")) ? this.words.get("structure") : ALL,
        prompt: this.words.get("prompt") || "", metric: this.words.get("metric") in this.config.metrics ? this.words.get("metric") : Object.keys(this.config.metrics)[0],
        rule: this.words.get("rule") in this.config.rules ? this.words.get("rule") : "drop", sort: this.words.get("sort") in SORTS ? this.words.get("sort") : "loss", page: 0,
      };
      if (this.words.has("segmenter") && this.words.get("segmenter") === ALL) this.pick.segmenter = ALL;
      this.draw();
      const open = (this.words.get("open") || "").split("|");
      if (open.length === 4) this.open({ subject: open[0], session: open[1], structure: open[2], segmenter: open[3], asked: this.pick.prompt, step: +this.pick.prompt.split(", ")[1] });
      // a link that the viewer itself has made holds its whole state
      const linked = Object.keys(this.config.cases).find((k) => "case-" + k.replace(" ", "-") === this.words.get("viewer"));
      if (linked) this.open({ subject: linked.split(" ")[0], session: linked.split(" ")[1], structure: this.words.get("structure"), segmenter: this.words.get("segmenter") }, this.words);
    }

    /* Pairs of the chosen session and prompt, with the value of either image. */
    pairs() {
      const { names, codes, values, filled } = this.data, { pick } = this;
      const ruled = filled[pick.metric]?.[pick.rule] || {};
      const at = (key, value) => names[key].findIndex((n) => String(n) === String(value));
      const [session, segmenter, structure] = [at("session", pick.session), at("segmenter", pick.segmenter), at("structure", pick.structure)];
      const found = new Map();
      this.prompts = new Map();
      for (let r = 0; r < codes.subject.length; r++) {
        if (codes.session[r] !== session) continue;
        if (pick.segmenter !== ALL && codes.segmenter[r] !== segmenter) continue;
        const asked = [names.prompt[codes.prompt[r]], names.step[codes.step[r]], names.seed[codes.seed[r]]];
        const key = asked.join(", ");
        if (!this.prompts.has(key)) this.prompts.set(key, `${asked[0]}, ${asked[1]} corrective clicks` + (asked[2] ? `, seed ${asked[2]}` : ""));
        if (pick.structure !== ALL && codes.structure[r] !== structure) continue;
        const value = values[pick.metric][r] ?? ruled[r];
        const name = [codes.subject[r], codes.structure[r], codes.segmenter[r], key].join();
        if (!found.has(name)) found.set(name, { asked: key, subject: names.subject[codes.subject[r]], session: pick.session, structure: names.structure[codes.structure[r]], segmenter: names.segmenter[codes.segmenter[r]], step: asked[1] });
        found.get(name)[names.modality[codes.modality[r]] === "PET" ? "pet" : "structural"] = value === null || value === undefined ? null : value / 1e4;
      }
      // a chart names the prompt and the step of its mark; a segmenter that takes no such prompt has its own
      if (!this.prompts.has(pick.prompt)) pick.prompt = (pick.prompt && [...this.prompts.keys()].find((k) => k.startsWith(pick.prompt + ", "))) || [...this.prompts.keys()].find((k) => k.startsWith("centre, 0")) || [...this.prompts.keys()][0] || "";
      const rows = [...found.values()];
      // where all segmenters are shown, each with its own first prompt
      return pick.segmenter === ALL ? rows.filter((p) => p.asked === pick.prompt || (!rows.some((q) => q.segmenter === p.segmenter && q.asked === pick.prompt) && p.step === 0)) : rows.filter((p) => p.asked === pick.prompt);
    }

    /* Names in the order of the cohort's structures, of the run's segmenters, of its sessions. */
    ordered(kind) {
      const order = Object.keys(this.config.titles[kind] || {}), at = (n) => (order.indexOf(n) + 1 || order.length + 1);
      return [...this.data.names[kind]].sort((a, b) => at(a) - at(b));
    }

    title(kind, name) { return this.config.titles[kind]?.[name] || name; }

    draw() {
      const pairs = this.pairs();
      this.controls();
      const whole = pairs.filter((p) => typeof p.structural === "number" && typeof p.pet === "number");
      const lower = this.config.lower_is_better.includes(this.pick.metric);
      const loss = (p) => (lower ? p.pet - p.structural : p.structural - p.pet);
      const rank = { loss: (p) => -loss(p), gain: loss, pet: (p) => (lower ? -p.pet : p.pet), structural: (p) => (lower ? -p.structural : p.structural) }[this.pick.sort];
      const structural = this.config.structural[this.pick.session];
      const missing = pairs.length - whole.length;
      this.status.textContent = pairs.length
        ? `${whole.length} pairs of ${structural} and PET` + (missing ? `; ${missing} without a score on both (${this.config.rules[this.pick.rule]})` : "") + ". Press a line or a row to open the subject."
        : "No score of this choice.";
      this.strips(whole, structural, lower);
      this.table(whole.sort((a, b) => rank(a) - rank(b)), structural, lower);
      this.address();
    }

    controls() {
      const { pick, config } = this;
      const choose = (label, key, options) => {
        const list = element("select", { id: "umd-cases-" + key, onchange: () => { pick[key] = list.value; pick.page = 0; this.draw(); this.form.querySelector("#umd-cases-" + key).focus(); } },
          ...options.map(([value, text]) => element("option", { value }, text)));
        list.value = pick[key];
        return element("div", { class: "umd-field" }, element("label", { for: list.id }, label), list);
      };
      const titled = (kind, all) => [...(all ? [[ALL, all]] : []), ...this.ordered(kind).map((n) => [n, this.title(kind, n)])];
      this.form.replaceChildren(
        choose("Session", "session", titled("session")),
        choose("Segmenter", "segmenter", titled("segmenter", "All segmenters")),
        choose("Structure", "structure", titled("structure", "All structures")),
        choose("Prompt", "prompt", [...this.prompts]),
        choose("Metric", "metric", Object.entries(config.metrics)),
        choose("Empty masks", "rule", Object.keys(config.rules).map((r) => [r, r])),
        choose("List by", "sort", Object.entries(SORTS)),
        element("button", { type: "button", onclick: () => this.csv() }, "CSV"));
    }

    /* One strip per structure, or per segmenter where one structure is chosen: a line joins a subject's two scores. */
    strips(pairs, structural, lower) {
      const by = this.pick.structure !== ALL || this.pick.segmenter === ALL ? "segmenter" : "structure";
      const groups = this.ordered(by).filter((n) => pairs.some((p) => p[by] === n));
      const most = lower ? Math.max(1, ...pairs.flatMap((p) => [p.structural, p.pet])) : 1;
      const left = 190, width = 760, row = 44, height = groups.length * row + 40;
      const x = (v) => left + (v / most) * (width - left - 20);
      const drawn = element("svg:svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${this.config.metrics[this.pick.metric]} of every subject on ${structural} and on PET, by ${by}; the list below has the same numbers.` });
      for (let t = 0; t <= 5; t++) {
        const at = x((most * t) / 5);
        drawn.append(element("svg:line", { x1: at, x2: at, y1: 8, y2: height - 26, class: "umd-grid" }), element("svg:text", { x: at, y: height - 10, "text-anchor": "middle" }, ((most * t) / 5).toFixed(lower ? 0 : 1)));
      }
      groups.forEach((name, g) => {
        const own = pairs.filter((p) => p[by] === name);
        drawn.append(element("svg:line", { x1: 0, x2: width, y1: g * row + 4, y2: g * row + 4, class: "umd-grid" }), element("svg:text", { x: left - 8, y: g * row + 30, "text-anchor": "end" }, this.title(by, name)));
        own.forEach((p, k) => {
          const y = g * row + 16 + (own.length > 1 ? (k * (row - 24)) / (own.length - 1) : 10);
          const link = element("svg:g", { class: "umd-pair" + (this.same(p) ? " umd-shown" : ""), onclick: () => this.open(p) },
            element("svg:title", {}, `${p.subject}, ${this.title("structure", p.structure)}, ${this.title("segmenter", p.segmenter)}: ${structural} ${p.structural.toFixed(3)}, PET ${p.pet.toFixed(3)}`),
            element("svg:line", { x1: x(p.structural), x2: x(p.pet), y1: y, y2: y, class: "umd-join" }),
            element("svg:circle", { cx: x(p.structural), cy: y, r: 4, fill: this.config.colours[structural] }),
            element("svg:rect", { x: x(p.pet) - 3.5, y: y - 3.5, width: 7, height: 7, fill: this.config.colours.PET }));
          drawn.append(link);
        });
      });
      const key = element("p", { class: "umd-key-line" }, element("i", { style: `background:${this.config.colours[structural]};border-radius:50%` }), structural, element("i", { style: `background:${this.config.colours.PET}` }), "PET; one line per subject");
      this.chart.replaceChildren(...(groups.length ? [key, drawn] : []));
    }

    same(p) { return this.shown && ["subject", "session", "structure", "segmenter"].every((k) => this.shown[k] === p[k]); }

    table(pairs, structural, lower) {
      const pages = Math.max(1, Math.ceil(pairs.length / PAGE)), from = this.pick.page * PAGE;
      this.rows = pairs;
      if (!pairs.length) { this.list.replaceChildren(); return; }
      const number = (v) => v.toFixed(lower ? 1 : 3).replace("-", "−");
      const head = ["Subject", "Structure", "Segmenter", structural, "PET", "Change", "Open"];
      const body = pairs.slice(from, from + PAGE).map((p) => element("tr", this.same(p) ? { class: "umd-shown" } : {},
        element("td", {}, p.subject), element("td", {}, this.title("structure", p.structure)), element("td", {}, this.title("segmenter", p.segmenter)),
        element("td", {}, number(p.structural)), element("td", {}, number(p.pet)), element("td", {}, (p.pet > p.structural ? "+" : "") + number(p.pet - p.structural)),
        element("td", {}, element("button", { type: "button", "aria-label": `Open ${p.subject}, ${this.title("structure", p.structure)}, ${this.title("segmenter", p.segmenter)}`, onclick: () => this.open(p) }, "Open"))));
      const go = (step, text) => element("button", { type: "button", disabled: this.pick.page + step < 0 || this.pick.page + step >= pages, onclick: () => { this.pick.page += step; this.table(pairs, structural, lower); } }, text);
      this.list.replaceChildren(
        element("div", { class: "umd-scroll", tabindex: "0", role: "region", "aria-label": "List of pairs" }, element("table", { class: "table" }, element("caption", {}, `Pairs by ${SORTS[this.pick.sort]}: ${from + 1} to ${Math.min(from + PAGE, pairs.length)} of ${pairs.length}.`),
          element("thead", {}, element("tr", {}, ...head.map((h) => element("th", { scope: "col" }, h)))), element("tbody", {}, ...body))),
        element("div", { class: "umd-pages" }, go(-1, "Previous"), go(1, "Next")));
    }

    csv() {
      const lines = [["subject", "session", "structure", "segmenter", "prompt_step_seed", "structural", "pet"], ...this.rows.map((p) => [p.subject, p.session, p.structure, p.segmenter, `"${p.asked}"`, p.structural, p.pet])];
      const link = element("a", { href: URL.createObjectURL(new Blob([lines.map((l) => l.join(",")).join("\n") + "\n"], { type: "text/csv" })), download: `pairs_${this.pick.metric}.csv` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }

    address() {
      const { pick, shown } = this;
      const words = new URLSearchParams({ session: pick.session, segmenter: pick.segmenter, structure: pick.structure, prompt: pick.prompt, metric: pick.metric, rule: pick.rule, sort: pick.sort });
      if (shown) words.set("open", [shown.subject, shown.session, shown.structure, shown.segmenter].join("|"));
      history.replaceState(null, "", "#" + words.toString());
    }

    /* The subject of a pair in the viewer: its structure, segmenter and step, at its largest error. */
    async open(pair, words = null) {
      const record = this.config.cases[`${pair.subject} ${pair.session}`];
      if (!record) { this.status.textContent = `There are no images of ${pair.subject} in this book.`; return; }
      this.shown = pair;
      const { figure } = await self.UMD_VIEWER.loadRecord(this.assets, record);
      if (this.shown !== pair) return;
      this.stage.querySelector("figure")?.umd?.close();
      const others = Object.keys(this.config.cases).filter((k) => k.endsWith(" " + pair.session)).map((k) => k.split(" ")[0]);
      const list = element("select", { id: "umd-case-subject", onchange: () => this.open({ ...pair, subject: list.value }) }, ...others.map((s) => element("option", { value: s }, s)));
      list.value = pair.subject;
      const holder = element("div", {});
      holder.innerHTML = figure;
      const held = this.config.shown[pair.segmenter], [prompt, , seed] = (pair.asked || "").split(", ");
      const other = pair.asked && (prompt !== held || seed !== "0") ? element("p", { class: "umd-status" }, `The viewer holds the prediction after the prompt ${held}, seed 0; the row is of ${prompt}, seed ${seed}.`) : null;
      this.stage.replaceChildren(...[element("div", { class: "umd-field" }, element("label", { for: list.id }, "Subject in the viewer"), list), other, holder].filter(Boolean));
      const viewer = self.UMD_VIEWER.show(holder.querySelector("figure"), { structure: pair.structure, segmenter: pair.segmenter, step: pair.step || 0 });
      this.stage.scrollIntoView({ block: "start" });
      this.draw();
      if (words) viewer.restore(words);
      await viewer.open();
      if (viewer.panes && !words) viewer.nextError();
      list.focus({ preventScroll: true });
    }
  }

  function start() {
    for (const root of document.querySelectorAll(".umd-cases")) {
      if (root.umd) continue;
      root.umd = new Explorer(root);
      const begin = () => root.umd.start().catch((error) => { root.umd.status.textContent = "The scores could not be loaded: " + error.message; });
      // the scores are needed when they come into view, or where the address names a choice
      if (location.hash.includes("=") || !self.IntersectionObserver) { begin(); continue; }
      const watch = new IntersectionObserver((seen) => { if (seen.some((s) => s.isIntersecting)) { watch.disconnect(); begin(); } }, { rootMargin: "200px" });
      watch.observe(root);
    }
  }

  if (document.readyState === "complete") start();
  else addEventListener("load", start);
})();
