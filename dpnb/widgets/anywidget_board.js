// The board of dpnb.marimo_dashboard: shows what Python says, and says what people do.

const LABELS = {
  prompt: "Prompt", negative_prompt: "Not", steps: "Steps", guidance_scale: "Guidance",
  width: "Width", height: "Height", seed: "Seed",
};
const WORDS = ["prompt", "negative_prompt"];

function make(tag, more = {}, ...children) {
  const { role, "aria-label": label, ...properties } = more;
  const element = Object.assign(document.createElement(tag), properties);
  if (role) element.setAttribute("role", role);
  if (label) element.setAttribute("aria-label", label);
  element.append(...children);
  return element;
}

function card(title, ...children) {
  const heading = make("h3", { className: "dpnb-heading", textContent: title });
  return make("section", { className: "dpnb-card" }, heading, ...children);
}

function field(name, start) {
  const isText = WORDS.includes(name);
  const input = make("input", { type: isText ? "text" : "number" });
  if (!isText) input.step = name === "guidance_scale" ? "0.5" : "1";
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") start(); });
  const label = make("label", { className: isText ? "wide" : "" }, LABELS[name], input);
  return { label, input };
}

function read(inputs) {
  const values = Object.entries(inputs).map(([name, input]) => {
    if (WORDS.includes(name)) return [name, input.value];
    return [name, input.value === "" ? null : Number(input.value)];
  });
  return Object.fromEntries(values);
}

function switchRow(name, send) {
  const box = make("input", { type: "checkbox" }), label = make("span"), note = make("div");
  const badge = make("span");
  box.addEventListener("change", () => send("switch", { kind: name, is_on: box.checked }));
  const element = make("div", { className: "dpnb-strategy" },
    make("div", { className: "dpnb-top" }, make("label", {}, box, " ", label), badge), note);
  const show = (one) => {
    const tone = one.is_waiting ? "wait" : one.is_barred ? "reason" : "summary";
    Object.assign(box, { checked: one.is_on, disabled: one.is_barred });
    label.textContent = one.label;
    Object.assign(badge, { className: `dpnb-badge dpnb-${one.tone}`, textContent: one.badge });
    note.className = `dpnb-note dpnb-${tone}`;
    note.textContent = one.is_waiting ? "takes effect between two steps" : one.words;
  };
  return { element, show };
}

function historyRow(run, send) {
  const picture = run.address ? make("img", { src: run.address, alt: run.asked }) : "";
  const restore = make("button", { type: "button", textContent: "Restore" });
  restore.setAttribute("aria-label", `Restore run ${run.number}`);
  restore.addEventListener("click", () => send("restore", { number: run.number }));
  const words = make("div", { className: "dpnb-words-of-run" },
    make("b", { textContent: `${run.number}: ${run.on}` }), make("div", { textContent: run.asked }),
    make("div", { textContent: run.facts }));
  return make("div", { className: "dpnb-row" }, picture, words, restore);
}

function render({ model, el }) {
  const shown = {
    fields: make("div", { className: "dpnb-web-fields" }),
    go: make("button", { type: "button", className: "dpnb-go", textContent: "Generate" }),
    stop: make("button", { type: "button", textContent: "Stop" }),
    bar: make("div"), message: make("div", { role: "status" }), error: make("div", { role: "alert" }),
    picture: make("div", { className: "dpnb-picture" }), chart: make("div"),
    said: make("div", { role: "status" }), switches: make("div"), history: make("div"),
  };
  const inputs = {}, rows = {};
  const send = (name, more) => {
    model.set("command", { ...more, name, serial: `${Date.now()} ${Math.random()}` });
    model.save_changes();
  };
  const start = () => {
    if (!shown.go.disabled) send("generate", { fields: read(inputs) });
  };
  shown.go.addEventListener("click", start);
  shown.stop.addEventListener("click", () => send("stop", {}));
  const progress = make("div", { className: "dpnb-progress" }, shown.bar);
  shown.history.className = "dpnb-rows";

  const views = {
    fields() {
      for (const [name, value] of Object.entries(model.get("fields"))) {
        if (!(name in inputs)) {
          const { label, input } = field(name, start);
          inputs[name] = input;
          shown.fields.append(label);
        }
        inputs[name].value = value ?? "";
      }
    },
    run() {
      const run = model.get("run");
      shown.go.disabled = run.phase !== "idle";
      shown.go.textContent = run.phase === "idle" ? "Generate" : "Drawing …";
      shown.stop.disabled = run.phase !== "running";
      progress.style.visibility = run.phase === "idle" ? "hidden" : "visible";
      shown.bar.style.width = `${run.share}%`;
      shown.message.textContent = run.message;
      shown.error.textContent = run.error;
      shown.error.className = run.error ? "dpnb-said dpnb-error" : "";
    },
    picture() {
      const { address, words } = model.get("picture");
      const empty = make("div", { className: "dpnb-empty", textContent: "The picture appears here." });
      shown.picture.replaceChildren(address ? make("img", { src: address, alt: words }) : empty);
    },
    chart() {
      shown.chart.innerHTML = model.get("chart") || '<div class="dpnb-empty">Memory and the time of every step are drawn here.</div>';
    },
    switches() {
      for (const one of model.get("switches")) {
        if (!(one.name in rows)) {
          rows[one.name] = switchRow(one.name, send);
          shown.switches.append(rows[one.name].element);
        }
        rows[one.name].show(one);
      }
    },
    said() {
      const { words, is_refused: isRefused } = model.get("said");
      shown.said.textContent = words;
      shown.said.className = isRefused ? "dpnb-said dpnb-error" : "dpnb-said";
    },
    history() {
      shown.history.replaceChildren(...model.get("history").map((run) => historyRow(run, send)));
    },
  };
  const left = make("div", {},
    card("Draw", shown.fields, make("div", { className: "dpnb-flow" }, shown.go, shown.stop),
      progress, shown.message, shown.error, shown.picture),
    card("Memory and time", shown.chart), card("History", shown.history));
  el.replaceChildren(make("div", { className: "dpnb dpnb-web" }, left, card("Switches", shown.said, shown.switches)));
  for (const [name, show] of Object.entries(views)) {
    model.on(`change:${name}`, show);
    show();
  }
  return () => Object.entries(views).forEach(([name, show]) => model.off(`change:${name}`, show));
}

export default { render };
