// The header of the slice that is shown: fetched when somebody opens it, and searched as they type.
const PAUSE = 250; // ms that a slice must rest before its header is fetched

/** The table below the picture. `address()`: where the header of the slice shown is. */
export const headerOf = (section, { address, texts }) => {
  const body = section.querySelector("tbody");
  const search = section.querySelector("input[type=search]");
  const said = section.querySelector("[data-said]");
  const panel = section.querySelector("details");
  let shown = "";
  let timer = 0;

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += row.hidden ? 0 : 1;
    }
    said.textContent = texts.rows.replace("{n}", count).replace("{of}", body.rows.length);
  };

  const rowOf = (one) => {
    const row = document.createElement("tr");
    const cells = [["th", one.name || one.keyword || one.tag], ["td", one.value], ["td", one.vr]];
    for (const [name, text] of cells) {
      const cell = document.createElement(name);
      cell.textContent = text;
      row.append(cell);
    }
    const under = document.createElement("span");
    under.className = "under";
    const code = document.createElement("code");
    code.textContent = `${one.tag.slice(0, 4)},${one.tag.slice(4)}${one.keyword ? ` ${one.keyword}` : ""}`;
    under.append(code);
    row.cells[0].scope = "row";
    row.cells[0].append(under);
    row.classList.add(`deep-${Math.min(one.depth, 4)}`);
    return row;
  };

  const load = async () => {
    const key = address();
    if (!panel.open || key === shown) return;
    shown = key;
    section.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(key);
      if (!answer.ok) throw new Error("refused");
      const rows = await answer.json();
      if (shown !== key || !body.isConnected) return;
      body.replaceChildren(...rows.map(rowOf));
      filter();
    } catch {
      if (shown !== key) return;
      shown = "";
      body.replaceChildren();
      said.textContent = texts.header;
    }
    section.removeAttribute("aria-busy");
  };

  panel.addEventListener("toggle", load);
  search.addEventListener("input", filter);
  search.form?.addEventListener("submit", (event) => { event.preventDefault(); load(); });
  for (const one of section.querySelectorAll("[data-without]")) one.hidden = true;
  if (panel.open && body.rows.length) shown = address(); // the server has written it
  else load(); // opened before this script ran
  return {
    moved: () => {
      clearTimeout(timer);
      if (panel.open) timer = setTimeout(load, PAUSE);
    },
    forget: () => { clearTimeout(timer); shown = ""; body.replaceChildren(); },
  };
};
