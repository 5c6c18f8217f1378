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
  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => {
          const order = compare(value(a, column), value(b, column));
          return Number.isFinite(order) && down ? -order : Math.sign(order);
        });
        table.tBodies[0].append(...rows);
      });
    });
  };
  const filterable = (form, table) => {
    form.hidden = false;
    const count = form.querySelector("output");
    const apply = () => {
      const words = form.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        const fits = words.every((word) => text.includes(word)) &&
          ["agent", "medal", "outcome", "modality"].every((name) => {
            const wanted = form.elements[name].value;
            return wanted === "" || row.dataset[name] === wanted;
          });
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      }
      count.textContent = `${shown} of ${table.tBodies[0].rows.length} attempts shown`;
    };
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    apply();
  };
  const enhance = () => {
    document.querySelectorAll("table.sortable").forEach(sortable);
    const form = document.getElementById("filters");
    const table = document.getElementById("attempts-table");
    if (form && table) filterable(form, table);
  };
  enhance();
  // A log is read from its end.
  const atEnd = (log) => !log || log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  const toEnd = (log) => { if (log) log.scrollTop = log.scrollHeight; };
  toEnd(document.getElementById("log"));

  const live = document.getElementById("live");
  if (!live) return;
  const source = new EventSource(live.dataset.events);
  source.addEventListener("progress", (event) => {
    const p = JSON.parse(event.data);
    const running = p.running.length ? ` · running: ${p.running.join(", ")}` : "";
    live.textContent = `Live: ${p.ended} of ${p.planned} attempts ended${running} · ${new Date(p.at).toLocaleTimeString()}`;
  });
  let asked = 0;
  source.addEventListener("changed", async () => {
    const mine = ++asked;
    const answer = await fetch(location.href);
    const text = await answer.text();
    // An older page that comes in late must not replace a newer one.
    if (!answer.ok || mine !== asked) return;
    const page = new DOMParser().parseFromString(text, "text/html");
    const form = document.getElementById("filters");
    const kept = form ? [...new FormData(form)] : [];
    const log = document.getElementById("log");
    const [follow, top] = [atEnd(log), log ? log.scrollTop : 0];
    document.querySelector("main").replaceWith(page.querySelector("main"));
    const newLog = document.getElementById("log");
    if (follow) toEnd(newLog);
    else if (newLog) newLog.scrollTop = top;
    for (const [name, value] of kept) document.getElementById("filters").elements[name].value = value;
    enhance();
  });
  source.onerror = () => { live.textContent = "The live view ended; the numbers below are the last ones it had."; };
})();
