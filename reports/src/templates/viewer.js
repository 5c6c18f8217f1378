// The page of an attempt: its log, transcript and files, loaded from data files when they are asked for.
// Whatever they hold becomes text of the page, never markup.
(() => {
  const LINES = 1000, STEPS = 40, MATCHES = 10000, SHOWN = 3000, EDITS = 2000, WORK = 5e7;
  const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
  const make = (tag, attributes = {}, ...children) => {
    const e = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") e.textContent = value;
      else if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
      else e.setAttribute(name, value);
    }
    e.append(...children);
    return e;
  };

  const arrived = new Map();
  globalThis.medalistPart = (name, value) => arrived.get(name)?.(value);

  // The text with what is searched for marked.
  const marked = (text, pattern) => {
    const parts = document.createDocumentFragment();
    let end = 0;
    if (pattern) {
      for (const match of text.matchAll(pattern)) {
        parts.append(text.slice(end, match.index), make("mark", { text: match[0] }));
        end = match.index + match[0].length;
      }
    }
    parts.append(text.slice(end));
    return parts;
  };

  // A long list, of which a window is in the page: `draw(i)` gives the element of the i-th item.
  const windowed = (host, what, label, size, length, draw) => {
    let from = 0;
    const list = make("div", { class: "list", tabindex: "0", role: "region", "aria-label": label });
    const told = make("span", { class: "muted" });
    const step = (by, text) => make("button", { type: "button", text, onclick: () => show(from + by) });
    const [earlier, later] = [step(-size, "Earlier"), step(size, "Later")];
    const bar = make("div", { class: "bar" }, earlier, later, told);
    const show = (start) => {
      from = Math.max(0, Math.min(start, length - size));
      const to = Math.min(length, from + size);
      told.textContent = `${what} ${(from + 1).toLocaleString("en")} to ${to.toLocaleString("en")} of ${length.toLocaleString("en")}`;
      earlier.disabled = from === 0;
      later.disabled = to === length;
      list.replaceChildren(...Array.from({ length: to - from }, (_, i) => draw(from + i)));
      list.scrollTop = 0;
    };
    host.replaceChildren(...(length > size ? [bar] : []), list);
    show(0);
    return {
      // Brings an item into the window and into sight.
      see: (i, pick = (e) => e) => {
        if (i < from || i >= from + size) show(i - Math.floor(size / 2));
        const found = pick(list.children[i - from]);
        found?.scrollIntoView({ block: "center", behavior: "instant" });
        return found;
      },
      again: () => { const top = list.scrollTop; show(from); list.scrollTop = top; },
    };
  };

  // The lines of a file with their numbers; gaps have none.
  const linesOf = (file) => {
    const lines = [];
    for (const { first, text } of file.segments) {
      const before = lines.at(-1)?.number ?? 0;
      if (first > before + 1) lines.push({ text: `\u2026 lines ${before + 1} to ${first - 1} are left out \u2026` });
      text.split("\n").forEach((line, i) => lines.push({ number: first + i, text: line }));
    }
    return lines;
  };

  const row = (prefix, { number, text }, pattern, here) => number
    ? make("div", { class: `line${here === `${prefix}-${number}` ? " here" : ""}`, id: `${prefix}-${number}` },
      make("a", { href: `#${prefix}-${number}`, text: number, "aria-label": `Link to line ${number}` }), make("code", {}, marked(text, pattern)))
    : make("div", { class: "line gap", text });

  // Lines that were taken away, added and kept: Myers' algorithm, up to a number of edits.
  const edits = (x, y) => {
    const [n, m] = [x.length, y.length];
    const most = Math.min(n + m, EDITS);
    const v = new Int32Array(2 * most + 3);
    const trace = [];
    const down = (at, k, d) => k === -d || (k !== d && at(k - 1) < at(k + 1));
    let work = 0;
    for (let d = 0; d <= most; d++) {
      const at = (k) => v[most + 1 + k];
      for (let k = -d; k <= d; k += 2) {
        let i = down(at, k, d) ? at(k + 1) : at(k - 1) + 1;
        while (i < n && i - k < m && x[i] === y[i - k]) { i++; work++; }
        v[most + 1 + k] = i;
        if (i >= n && i - k >= m) return back(trace, down, n, m, d);
      }
      work += d;
      if (work > WORK) return null;
      trace.push(v.slice(most + 1 - d, most + 2 + d));
    }
    return null;
  };
  const back = (trace, down, i, j, last) => {
    const signs = [];
    for (let d = last; d > 0; d--) {
      const at = (k) => trace[d - 1][k + d - 1] ?? -1;
      const k = i - j;
      const isDown = down(at, k, d);
      const start = isDown ? at(k + 1) : at(k - 1) + 1;
      while (i > start) { signs.push(" "); i--; j--; }
      signs.push(isDown ? "+" : "-");
      if (isDown) j--; else i--;
    }
    while (i > 0) { signs.push(" "); i--; }
    return signs.reverse();
  };
  const compare = (a, b) => {
    let [start, endA, endB] = [0, a.length, b.length];
    while (start < endA && start < endB && a[start] === b[start]) start++;
    while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) { endA--; endB--; }
    const numbers = new Map();
    const number = (line) => numbers.get(line) ?? (numbers.set(line, numbers.size), numbers.size - 1);
    const [x, y] = [a.slice(start, endA).map(number), b.slice(start, endB).map(number)];
    const found = x.length && y.length ? edits(x, y) : [...x.map(() => "-"), ...y.map(() => "+")];
    const middle = found ?? [...x.map(() => "-"), ...y.map(() => "+")];
    const same = (length) => Array(length).fill(" ");
    return { signs: [...same(start), ...middle, ...same(a.length - endA)], isRough: !found };
  };

  const attach = () => {
    const root = document.getElementById("viewer");
    if (!root || root.dataset.attached) return;
    root.dataset.attached = "yes";
    const find = document.getElementById("find"), pick = document.getElementById("pick");
    const hosts = { log: document.getElementById("log-lines"), steps: document.getElementById("steps"), file: document.getElementById("file") };
    const problem = document.getElementById("viewer-problem");
    const loaded = new Map();
    const panes = {};
    let pattern = null;
    // The line or step that the address leads to.
    let here = "";

    const fail = (error) => { problem.hidden = false; problem.textContent = error.message; };
    const load = (name) => {
      if (!loaded.has(name)) {
        loaded.set(name, new Promise((resolve, reject) => {
          const script = make("script", { src: `${root.dataset.base}${name}${root.dataset.end}` });
          arrived.set(name, (value) => resolve(value));
          script.onload = () => { script.remove(); reject(new Error(`The data file ${name} is damaged.`)); };
          script.onerror = () => {
            script.remove();
            loaded.delete(name);
            reject(new Error(`The data file ${root.dataset.base}${name}.js cannot be loaded. It must lie where the page was made, beside it.`));
          };
          document.head.append(script);
        }));
      }
      return loaded.get(name);
    };
    // Another state of the page is another address, so that a link leads to what is seen.
    const remember = (values) => {
      root.dataset.used = "yes";
      const address = new URL(location.href);
      for (const [name, value] of Object.entries(values)) {
        if (value) address.searchParams.set(name, value);
        else address.searchParams.delete(name);
      }
      history.replaceState(null, "", address);
    };

    const openLog = async () => {
      if (!panes.log) {
        const lines = linesOf(await load("log"));
        panes.log = { lines, ...windowed(hosts.log, "Rows", "Log", LINES, lines.length, (i) => row("log", lines[i], pattern, here)) };
      }
      reveal("log");
      return panes.log;
    };
    const stepsOf = (story) => {
      const items = story.begin.map((step, i) => ({ ...step, number: i + 1 }));
      if (story.gap) items.push({ gap: story.gap });
      const before = story.begin.length + story.gap;
      return items.concat(story.end.map((step, i) => ({ ...step, number: before + i + 1 })));
    };
    const said = ({ who, text }) => {
      const lines = text.split("\n");
      const body = make("pre", {}, marked(text, pattern));
      const title = lines[0].slice(0, 200);
      const whole = lines.length > 14
        ? make("details", pattern && body.querySelector("mark") ? { open: "" } : {}, make("summary", {}, title, make("small", { text: ` (${count(lines.length, "line")})` })), body)
        : body;
      return make("div", { class: `said ${who}` }, make("b", { text: who }), whole);
    };
    const moment = (step) => step.gap
      ? make("p", { class: "muted", text: `\u2026 ${count(step.gap, "step")} left out \u2026` })
      : make("article", { class: `moment${step.is_call ? "" : " other"}${here === `step-${step.number}` ? " here" : ""}`, id: `step-${step.number}` },
        make("p", {}, make("a", { href: `#step-${step.number}`, text: step.at, "aria-label": `Link to step ${step.number}` }), " ", marked(step.head, pattern)),
        ...step.said.map(said));
    const openSteps = async () => {
      if (!panes.steps) {
        const items = stepsOf(await load("steps"));
        panes.steps = { items, ...windowed(hosts.steps, "Steps", "Transcript", STEPS, items.length, (i) => moment(items[i])) };
      }
      reveal("steps");
      return panes.steps;
    };
    const reveal = (name) => {
      hosts[name].hidden = false;
      root.querySelector(`[data-open=${name}]`)?.setAttribute("aria-expanded", "true");
    };

    const optionOf = (part) => [...pick.elements.file.options].find((option) => option.value === part);
    const fileOf = async (part) => {
      const file = await load(part);
      // On a page that is served, files may have come and gone.
      if (file.path !== optionOf(part)?.textContent) throw new Error("The attempt's files have changed; load the page again.");
      return file;
    };
    const openFile = async () => {
      const part = pick.elements.file.value, other = pick.elements.with.value;
      const output = pick.querySelector("output");
      output.textContent = "";
      const file = await fileOf(part);
      const lines = linesOf(file);
      hosts.file.hidden = false;
      if (other && other !== part) {
        const old = await fileOf(other);
        // Another choice may have been made meanwhile.
        if (pick.elements.file.value !== part || pick.elements.with.value !== other) return panes.file;
        const told = differing(linesOf(old), lines, `From ${old.path} to ${file.path}`);
        output.textContent = [told, ...[old, file].filter((f) => f.note).map((f) => `of ${f.path} ${f.note}`)].join("; ");
        return (panes.file = null);
      }
      panes.file = { part, lines, ...windowed(hosts.file, "Lines", file.path, LINES, lines.length, (i) => row(part, lines[i], pattern, here)) };
      output.textContent = `${count(lines.length, "line")}${file.note ? `; ${file.note}` : ""}`;
      return panes.file;
    };
    const differing = (old, now, label) => {
      const { signs, isRough } = compare(old.map((line) => line.text), now.map((line) => line.text));
      const added = signs.filter((sign) => sign === "+").length, removed = signs.filter((sign) => sign === "-").length;
      const near = signs.map(() => false);
      signs.forEach((sign, i) => {
        if (sign !== " ") for (let k = Math.max(0, i - 3); k <= Math.min(signs.length - 1, i + 3); k++) near[k] = true;
      });
      const rows = [];
      let [i, j, hidden] = [0, 0, 0];
      const gap = () => { if (hidden) rows.push(make("div", { class: "line gap", text: `\u2026 ${count(hidden, "equal line")} \u2026` })); hidden = 0; };
      let cut = 0;
      signs.forEach((sign, at) => {
        const [a, b] = [sign === "+" ? null : old[i++], sign === "-" ? null : now[j++]];
        if (!near[at]) { hidden++; return; }
        if (rows.length >= SHOWN) { cut += sign === " " ? 0 : 1; return; }
        gap();
        const kind = { "+": "added", "-": "removed", " ": "kept" }[sign];
        rows.push(make("div", { class: `line ${kind}` },
          make("span", { class: "no", text: a?.number ?? "" }), make("span", { class: "no", text: b?.number ?? "" }),
          make("span", { class: "sign", text: sign === "-" ? "\u2212" : sign }), make("code", {}, (a ?? b).text)));
      });
      gap();
      if (cut) rows.push(make("div", { class: "line gap", text: `\u2026 ${count(cut, "more changed line")} not shown \u2026` }));
      hosts.file.replaceChildren(make("div", { class: "list diff", tabindex: "0", role: "region", "aria-label": label }, ...rows));
      if (!added && !removed) return "no difference";
      return `${count(added, "line")} added, ${removed.toLocaleString("en")} removed${isRough ? "; they differ too much to be aligned, so all that differs is shown as replaced" : ""}`;
    };

    // Matches, in the order of log, transcript and files.
    let matches = [], at = -1, asked = 0;
    const within = (text, place, into) => {
      if (into.length >= MATCHES) return;
      let nth = 0;
      for (const _ of text.matchAll(pattern)) {
        if (into.length >= MATCHES) return;
        into.push({ ...place, nth: nth++ });
      }
    };
    const search = async () => {
      const mine = ++asked;
      const words = find.elements.q.value.trim();
      const output = find.querySelector("output");
      pattern = words ? new RegExp(words.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"), "giu") : null;
      [matches, at] = [[], -1];
      remember({ q: words });
      if (!pattern) {
        output.textContent = "";
        redraw();
        return;
      }
      output.textContent = "Searching \u2026";
      const parts = pick ? [...pick.elements.file.options].map((option) => option.value) : [];
      const [log, steps, ...files] = await Promise.all([root.dataset.log && load("log"), root.dataset.steps && load("steps"), ...parts.map(load)]);
      if (mine !== asked) return;
      const found = [[], [], []];
      if (log) linesOf(log).forEach(({ number, text }, i) => { if (number) within(text, { in: "log", item: i }, found[0]); });
      if (steps) {
        stepsOf(steps).forEach((step, i) => {
          if (!step.gap) within([step.head, ...step.said.map((entry) => entry.text)].join("\n"), { in: "steps", item: i }, found[1]);
        });
      }
      files.forEach((file, f) => linesOf(file).forEach(({ text }, i) => within(text, { in: "file", part: parts[f], item: i }, found[2])));
      matches = found.flat();
      const told = [log && [found[0], "log"], steps && [found[1], "transcript"], parts.length && [found[2], "files"]].filter(Boolean);
      output.textContent = matches.length
        ? `${told.map(([all, name]) => `${all.length.toLocaleString("en")}${all.length === MATCHES ? " or more" : ""} in the ${name}`).join(", ")}`
        : "No match";
      redraw();
    };
    const redraw = () => {
      if (!hosts.log?.hidden) panes.log?.again();
      if (!hosts.steps?.hidden) panes.steps?.again();
      panes.file?.again();
    };
    const go = async (by) => {
      if (!matches.length) return;
      at = at < 0 ? (by > 0 ? 0 : matches.length - 1) : (at + by + matches.length) % matches.length;
      const match = matches[at];
      let pane;
      if (match.in === "log") pane = await openLog();
      else if (match.in === "steps") pane = await openSteps();
      else if (panes.file?.part === match.part) pane = panes.file;
      else {
        [pick.elements.file.value, pick.elements.with.value] = [match.part, ""];
        pane = await openFile();
      }
      if (!pane) return;
      root.querySelectorAll("mark.now").forEach((mark) => mark.classList.remove("now"));
      pane.see(match.item, (e) => {
        const mark = e?.querySelectorAll("mark")[match.nth] ?? e;
        const folded = mark?.closest("details");
        if (folded) folded.open = true;
        mark?.classList.add("now");
        return mark;
      });
      find.querySelector("output").textContent = `Match ${(at + 1).toLocaleString("en")} of ${matches.length.toLocaleString("en")}, in the ${{ log: "log", steps: "transcript", file: "files" }[match.in]}`;
    };

    const toHash = async () => {
      const [, name, number] = location.hash.match(/^#(log|step|f\d+)-(\d+)$/) ?? [];
      if (!name || !root.isConnected) return;
      here = location.hash.slice(1);
      let pane, item;
      if (name === "log" && root.dataset.log) {
        pane = await openLog();
        item = pane.lines.findIndex((line) => line.number === Number(number));
      } else if (name === "step" && root.dataset.steps) {
        pane = await openSteps();
        item = pane.items.findIndex((step) => step.number === Number(number));
      } else if (pick && optionOf(name)) {
        if (panes.file?.part !== name) {
          [pick.elements.file.value, pick.elements.with.value] = [name, ""];
          remember({ file: name, with: "" });
          await openFile();
        }
        pane = panes.file;
        item = pane.lines.findIndex((line) => line.number === Number(number));
      }
      if (!pane) return;
      root.querySelectorAll(".here").forEach((e) => e.classList.remove("here"));
      if (item >= 0) pane.see(item)?.classList.add("here");
      else throw new Error(`There is no line ${number} here; it may be left out.`);
    };
    const safely = (act) => async (...args) => {
      try { problem.hidden = true; await act(...args); } catch (error) { fail(error); }
    };

    const asks = new URL(location.href).searchParams;
    for (const button of root.querySelectorAll("[data-open]")) {
      button.parentElement.hidden = false;
      button.addEventListener("click", safely(async () => {
        const host = hosts[button.dataset.open];
        if (!host.hidden) {
          host.hidden = true;
          button.setAttribute("aria-expanded", "false");
          return;
        }
        root.dataset.used = "yes";
        await (button.dataset.open === "log" ? openLog() : openSteps());
      }));
    }
    if (find) {
      find.hidden = false;
      let timer;
      find.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(safely(search), 250); });
      find.addEventListener("submit", (event) => event.preventDefault());
      find.elements.q.addEventListener("keydown", (event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        safely(async () => {
          clearTimeout(timer);
          if (at < 0) await search();
          await go(event.shiftKey ? -1 : 1);
        })();
      });
      for (const button of find.querySelectorAll("[data-go]")) button.addEventListener("click", safely(() => go(Number(button.dataset.go))));
      if (asks.get("q")) {
        find.elements.q.value = asks.get("q");
        safely(async () => { await search(); if (!location.hash) await go(1); })();
      }
    }
    if (pick) {
      pick.hidden = false;
      const choose = safely(async () => {
        remember({ file: pick.elements.file.value, with: pick.elements.with.value });
        await openFile();
      });
      pick.addEventListener("change", choose);
      pick.addEventListener("submit", (event) => event.preventDefault());
      for (const button of pick.querySelectorAll("[data-compare]")) {
        button.addEventListener("click", () => {
          const [before, after] = button.dataset.compare.split(" ");
          [pick.elements.file.value, pick.elements.with.value] = [after, before];
          choose();
        });
      }
      const wanted = (name) => (optionOf(asks.get(name)) ? asks.get(name) : "");
      pick.elements.with.value = wanted("with");
      if (wanted("file")) pick.elements.file.value = wanted("file");
      if (wanted("file") || wanted("with")) safely(openFile)();
      else {
        // The code is what most readers came for: it is loaded when it comes into sight.
        new IntersectionObserver((seen, observer) => {
          if (!seen.some((entry) => entry.isIntersecting)) return;
          observer.disconnect();
          if (!panes.file && !pick.elements.with.value) safely(openFile)();
        }, { rootMargin: "200px" }).observe(pick);
      }
    }
    // A live page has come to know more.
    root.addEventListener("stale", () => {
      loaded.clear();
      panes.log = panes.steps = null;
      if (find) find.querySelector("output").textContent = "The attempt has gone on; search again, or open the log again, for what is new.";
      for (const button of root.querySelectorAll("[data-open]")) button.setAttribute("aria-expanded", "false");
      if (hosts.log) hosts.log.hidden = true;
      if (hosts.steps) hosts.steps.hidden = true;
    });
    addEventListener("hashchange", safely(toHash));
    safely(toHash)();
  };
  globalThis.medalistViewer = attach;
  attach();
})();
