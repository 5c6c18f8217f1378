(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    const raw = cell.dataset.v ?? cell.textContent.trim();
    const number = Number(raw);
    return raw !== "" && !Number.isNaN(number) ? number : raw.toLowerCase();
  };
  const compare = (a, b) => {
    // Cells without a value stay last in both directions.
    if (a === "" || b === "") return a === b ? 0 : a === "" ? Infinity : -Infinity;
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0;
  };
  // Tables by number: the same one has the same number in the next version of a live page.
  const tables = () => [...document.querySelectorAll("table.sortable")];
  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    const original = [...body.rows];
    const sort = (column, state) => {
      heads.forEach((other, i) => other.setAttribute("aria-sort", i === column ? state : "none"));
      table.dataset.sorted = state === "none" ? "" : `${column} ${state}`;
      const rows = [...original];
      if (state !== "none") {
        rows.sort((a, b) => {
          // Lines of folded competitions are hidden while rows stand in another order.
          const folds = a.classList.contains("fold") - b.classList.contains("fold");
          if (folds || a.classList.contains("fold")) return folds;
          const order = compare(value(a, column), value(b, column));
          return Number.isFinite(order) && state === "descending" ? -order : Math.sign(order);
        });
      }
      body.append(...rows);
      table.dispatchEvent(new Event("sorted"));
    };
    table.sortBy = sort;
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      const next = { none: "ascending", ascending: "descending", descending: "none" };
      button.addEventListener("click", () => sort(column, next[head.getAttribute("aria-sort")]));
    });
  };
  // The attempts: filtered by the form, and folded by competition unless a filter or another order
  // asks for single ones.
  const names = ["competition", "agent", "medal", "outcome", "modality"];
  const filterable = (form, table) => {
    form.hidden = false;
    const count = form.querySelector("output");
    const folds = [...table.querySelectorAll("tr.fold")];
    const rows = [...table.tBodies[0].rows].filter((row) => !row.classList.contains("fold"));
    const members = new Map();
    let current = null;
    for (const row of table.tBodies[0].rows) {
      if (row.classList.contains("fold")) members.set((current = row), []);
      else if (current) members.get(current).push(row);
    }
    // What a row is filtered by, read once it is asked for: a report may have thousands of rows.
    const once = (read) => {
      const known = new Map();
      return (row) => known.get(row) ?? (known.set(row, read(row)), known.get(row));
    };
    const textOf = once((row) => row.textContent.toLowerCase());
    const facts = once((row) => ({
      ...row.dataset, competition: row.cells[0].firstChild.textContent, agent: row.cells[1].textContent, medal: row.querySelector(".tag.gold,.tag.silver,.tag.bronze")?.classList[1] ?? "none",
    }));
    const open = (fold) => fold.querySelector("button").getAttribute("aria-expanded") === "true";
    const apply = () => {
      const words = form.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const asked = words.length > 0 || names.some((name) => form.elements[name].value !== "") || !!table.dataset.sorted;
      const wanted = names.map((name) => [name, form.elements[name].value]).filter(([, value]) => value !== "");
      let fitting = 0;
      for (const row of rows) {
        const fits = wanted.every(([name, value]) => facts(row)[name] === value) && words.every((word) => textOf(row).includes(word));
        row.hidden = !fits;
        fitting += fits ? 1 : 0;
      }
      for (const [fold, inside] of members) {
        fold.hidden = asked;
        if (!asked) inside.forEach((row) => { row.hidden = !open(fold); });
      }
      count.textContent = folds.length && !asked
        ? `${rows.length} attempts, folded by competition`
        : `${fitting} of ${rows.length} attempts shown`;
    };
    for (const fold of folds) {
      const name = fold.querySelector("span");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name.textContent;
      button.setAttribute("aria-expanded", "false");
      name.replaceWith(button);
      button.addEventListener("click", () => {
        button.setAttribute("aria-expanded", String(!open(fold)));
        apply();
      });
    }
    table.unfold = (row) => {
      for (const [fold, inside] of members) {
        if (inside.includes(row)) fold.querySelector("button").setAttribute("aria-expanded", "true");
      }
      apply();
    };
    // The address leads to what is seen. It keeps what else it has, such as a token.
    const remember = () => {
      const address = new URL(location.href);
      const state = [["search", form.elements.search.value], ...names.map((name) => [name, form.elements[name].value]), ["sort", table.dataset.sorted]];
      for (const [name, value] of state) {
        if (value) address.searchParams.set(name, value);
        else address.searchParams.delete(name);
      }
      if (address.href !== location.href) history.replaceState(null, "", address);
    };
    const asked = new URL(location.href).searchParams;
    for (const name of ["search", ...names]) form.elements[name].value = asked.get(name) ?? "";
    // A value that the list does not have would show nothing at all.
    for (const name of names) if (form.elements[name].selectedIndex < 0) form.elements[name].value = "";
    const [column, state] = (asked.get("sort") ?? "").split(" ");
    if (["ascending", "descending"].includes(state) && table.tHead.rows[0].cells[column]) table.sortBy(Number(column), state);
    form.addEventListener("input", () => { apply(); remember(); });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.querySelector("[type=reset]").addEventListener("click", (event) => {
      event.preventDefault();
      for (const name of ["search", ...names]) form.elements[name].value = "";
      if (table.dataset.sorted) table.sortBy(0, "none");
      apply();
      remember();
    });
    table.addEventListener("sorted", () => { apply(); remember(); });
    apply();
  };
  const enhance = () => {
    tables().forEach(sortable);
    const form = document.getElementById("filters");
    const table = document.getElementById("attempts-table");
    if (form && table) filterable(form, table);
  };
  enhance();
  // A cell of the heat map leads to an attempt that may be folded away.
  const show = () => {
    const row = location.hash.startsWith("#a-") && document.getElementById(location.hash.slice(1));
    if (!row) return;
    row.closest("table").unfold?.(row);
    row.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", show);
  show();
  // A log is read from its end.
  const atEnd = (log) => !log || log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  const toEnd = (log) => { if (log) log.scrollTop = log.scrollHeight; };
  toEnd(document.getElementById("log"));
  // The rest of an attempt's page lies in data files, and so does what shows them.
  const viewer = document.getElementById("viewer");
  if (viewer) {
    const script = document.createElement("script");
    script.src = viewer.dataset.script;
    script.onerror = () => {
      const problem = document.getElementById("viewer-problem");
      problem.hidden = false;
      problem.textContent = "What searches the log and shows files is not beside this page: keep the folder that it was made in together.";
    };
    document.head.append(script);
  }

  const live = document.getElementById("live");
  if (!live) return;
  const source = new EventSource(live.dataset.events);
  source.addEventListener("progress", (event) => {
    const p = JSON.parse(event.data);
    const running = p.running.length ? ` · running: ${p.running.join(", ")}` : "";
    const unfinished = p.planned - p.ended;
    const left = unfinished ? ` · ${unfinished} unfinished, counted apart` : "";
    live.textContent = `Live: ${p.ended} of ${p.planned} attempts ended${left}${running} · ${new Date(p.at).toLocaleTimeString()}`;
  });
  // What a reader has done to the page, by names that the next version has too.
  const focused = () => {
    const e = document.activeElement;
    if (!e || e === document.body || !document.querySelector("main").contains(e)) return null;
    if (e.name) return (root) => root.querySelector(`[name="${CSS.escape(e.name)}"]`);
    if (e.matches("a[href]")) {
      const href = e.getAttribute("href");
      return (root) => [...root.querySelectorAll("a[href]")].find((a) => a.getAttribute("href") === href);
    }
    const text = e.textContent;
    const section = e.closest("section")?.id;
    return (root) => [...(document.getElementById(section) ?? root).querySelectorAll(e.tagName)].find((other) => other.textContent === text);
  };
  const keep = () => {
    const form = document.getElementById("filters");
    const filters = form ? [...new FormData(form)] : [];
    const sorted = tables().map((table) => table.dataset.sorted || "");
    const opened = new Set([...document.querySelectorAll(".fold button[aria-expanded=true]")].map((b) => b.textContent));
    const details = new Set([...document.querySelectorAll("details[open] > summary")].map((s) => s.textContent));
    const focus = focused();
    const [x, y] = [scrollX, scrollY];
    return () => {
      const newForm = document.getElementById("filters");
      for (const [name, value] of filters) if (newForm) newForm.elements[name].value = value;
      for (const button of document.querySelectorAll(".fold button")) {
        button.setAttribute("aria-expanded", String(opened.has(button.textContent)));
      }
      for (const summary of document.querySelectorAll("details > summary")) {
        summary.parentElement.open = details.has(summary.textContent);
      }
      tables().forEach((table, i) => {
        const [column, state] = (sorted[i] || "").split(" ");
        if (state) table.sortBy(Number(column), state);
      });
      newForm?.dispatchEvent(new Event("input"));
      focus?.(document)?.focus({ preventScroll: true });
      scrollTo({ left: x, top: y, behavior: "instant" });
    };
  };
  let asked = 0;
  source.addEventListener("changed", async () => {
    const mine = ++asked;
    const answer = await fetch(location.href);
    const text = await answer.text();
    // An older page that comes in late must not replace a newer one.
    if (!answer.ok || mine !== asked) return;
    const page = new DOMParser().parseFromString(text, "text/html");
    const restore = keep();
    const log = document.getElementById("log");
    const [follow, top] = [atEnd(log), log ? log.scrollTop : 0];
    const [old, next] = [document.getElementById("viewer"), page.getElementById("viewer")];
    document.querySelector("main").replaceWith(page.querySelector("main"));
    // A viewer that is in use stays as it is, unless there are now files that it does not know.
    if (old?.dataset.used && old.dataset.first === next?.dataset.first && !!old.dataset.steps === !!next.dataset.steps && !!old.dataset.log === !!next.dataset.log) {
      next.replaceWith(old);
      old.dispatchEvent(new Event("stale"));
    } else globalThis.medalistViewer?.();
    document.getElementById("count")?.replaceWith(page.getElementById("count") ?? "");
    enhance();
    const newLog = document.getElementById("log");
    if (follow) toEnd(newLog);
    else if (newLog) newLog.scrollTop = top;
    restore();
  });
  source.onerror = () => { live.textContent = "The live view ended; the numbers below are the last ones it had."; };
})();
