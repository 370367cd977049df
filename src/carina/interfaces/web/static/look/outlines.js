// Outlines of segmentations and structures over a picture, as SVG in the frame's own pixels.
const KEPT = 200; // slices' outlines in memory
const PAUSE = 60; // ms that a slice must rest before its outlines are fetched

/** The overlays of a stage. `address(id)`: where the outlines of an overlay for the slice shown are; null: nowhere.
 * `say(text)`: a sentence of what is missing. */
export const outlinesOf = (svg, legend, { address, say, texts }) => {
  const held = new Map(); // address -> answer
  let round = 0;
  let timer = 0;
  let stop = new AbortController();

  const shown = () => [...legend.querySelectorAll("input[data-overlay]:checked")];
  const overlays = () => [...new Set(shown().map((box) => box.dataset.overlay))];

  const clear = () => {
    for (const old of svg.querySelectorAll("path")) old.remove();
  };

  const draw = (id, answer) => {
    const boxes = new Map(shown().filter((box) => box.dataset.overlay === id).map((box) => [box.value, box]));
    for (const segment of answer.segments) {
      if (!boxes.has(String(segment.number))) continue;
      const path = document.createElementNS(svg.namespaceURI, "path");
      const closed = segment.closed === false ? "" : "Z";
      path.setAttribute("d", segment.paths.map((one) => {
        let text = "";
        for (let place = 0; place < one.length; place += 2) text += `${place ? "L" : "M"}${one[place]} ${one[place + 1]}`;
        return text + closed;
      }).join(""));
      path.setAttribute("stroke", segment.colour);
      path.setAttribute("fill", closed ? segment.colour : "none");
      path.dataset.segment = `${id} ${segment.number}`;
      svg.append(path);
    }
  };

  const fetchOne = async (key) => {
    const known = held.get(key);
    if (known) return known;
    const answer = await fetch(key, { signal: stop.signal });
    if (!answer.ok) throw new Error("refused");
    const found = await answer.json();
    held.set(key, found);
    for (const old of held.keys()) {
      if (held.size <= KEPT) break;
      held.delete(old);
    }
    return found;
  };

  const update = async () => {
    const mine = (round += 1);
    const missing = new Set();
    stop.abort();
    stop = new AbortController();
    const found = [];
    for (const id of overlays()) {
      const key = address(id);
      if (!key) continue;
      try {
        const answer = await fetchOne(key);
        if (mine !== round) return;
        found.push([id, answer]);
        if (answer.missing) missing.add(answer.missing);
      } catch {
        if (mine !== round) return;
        missing.add(texts.outlines);
      }
    }
    if (!svg.isConnected) return;
    clear();
    for (const [id, answer] of found) draw(id, answer);
    svg.dataset.drawn = String(svg.childElementCount);
    say([...missing].join(" "));
  };

  legend.addEventListener("change", update);
  return {
    /** Another slice is shown: the old one's outlines go at once. */
    moved: () => {
      clear();
      round += 1;
      clearTimeout(timer);
      if (shown().length) timer = setTimeout(update, PAUSE);
      else say("");
    },
    toggle: () => {
      const boxes = [...legend.querySelectorAll("input[data-overlay]")];
      const on = !boxes.some((box) => box.checked);
      for (const box of boxes) box.checked = on;
      update();
    },
    size: (columns, rows) => svg.setAttribute("viewBox", `0 0 ${columns} ${rows}`),
    forget: () => {
      clearTimeout(timer);
      stop.abort();
      round += 1;
      held.clear();
      clear();
    },
  };
};
