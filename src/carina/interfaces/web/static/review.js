// One image under review: frames, zoom, boxes that are drawn, moved and left out, and letters that act as keys.
// The form's tick boxes are the truth; the rectangles over the picture only show them.
"use strict";

(() => {
  const desk = document.getElementById("desk");
  if (!desk) return;
  const SVG = "http://www.w3.org/2000/svg";
  const AHEAD = 3; // frames fetched beyond the one that is shown
  const KEPT = 60; // pictures that stay in memory
  const LEAST = 3; // pixels of a side of a box that is drawn
  const rows = Number(desk.dataset.rows);
  const columns = Number(desk.dataset.columns);
  const frames = Number(desk.dataset.frames);
  const scroll = desk.querySelector(".scroll");
  const plate = desk.querySelector(".plate");
  const layer = desk.querySelector(".boxes");
  const list = document.getElementById("boxes");
  const form = document.getElementById("decision");
  const slider = document.getElementById("frame");
  const whole = document.getElementById("whole");
  const preview = document.getElementById("preview");
  const only = document.getElementById("only");
  const draw = document.getElementById("draw");
  const zoom = document.getElementById("zoom");
  const letters = document.getElementById("letters");
  const wrong = desk.querySelector("[data-wrong]");
  let shown = plate.querySelector("img");
  let frame = slider ? Number(slider.value) : 1;
  let chosen = null; // the tick box of the chosen box
  let made = list.children.length;

  // A text of the page with what belongs in its places: "frame {number}".
  const filled = (text, values) => text.replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);

  // ---- boxes ----
  const ticks = () => [...list.querySelectorAll("input")];
  const read = (tick) => {
    const [top, left, bottom, right, on] = tick.value.split(" ");
    return { top: +top, left: +left, bottom: +bottom, right: +right, on };
  };
  const here = (box) => box.on === "all" || Number(box.on) === frame - 1;

  const say = (tick) => {
    const { top, left, bottom, right } = read(tick);
    tick.parentElement.querySelector("small").textContent = filled(desk.dataset.at, { width: right - left, height: bottom - top, left, top });
  };

  const paint = () => {
    if (!layer) return;
    layer.replaceChildren();
    let visible = 0;
    for (const tick of ticks()) {
      const box = read(tick);
      const row = tick.closest("li");
      row.hidden = !here(box);
      row.classList.toggle("active", tick === chosen);
      if (row.hidden) continue;
      visible += 1;
      const rect = document.createElementNS(SVG, "rect");
      rect.setAttribute("x", box.left);
      rect.setAttribute("y", box.top);
      rect.setAttribute("width", box.right - box.left);
      rect.setAttribute("height", box.bottom - box.top);
      rect.classList.toggle("out", !tick.checked);
      rect.classList.toggle("active", tick === chosen);
      rect.addEventListener("pointerdown", (event) => {
        if (drawing()) return;
        event.preventDefault();
        choose(tick);
        tick.focus({ preventScroll: true });
      });
      layer.append(rect);
    }
    const count = ticks().filter((tick) => tick.checked).length;
    form.querySelector("[data-count]").textContent = filled(count === 1 ? desk.dataset.one : desk.dataset.many, { n: count });
    const broken = desk.classList.contains("broken"); // nobody lets pass what nobody sees
    form.querySelector("[value=accept]").hidden = broken || count === 0;
    form.querySelector("[value=clear]").hidden = broken;
    document.getElementById("none").hidden = visible > 0;
  };

  const choose = (tick) => {
    chosen = tick;
    paint();
  };

  const write = (tick, box) => {
    tick.value = [box.top, box.left, box.bottom, box.right, box.on].join(" ");
    say(tick);
    paint();
  };

  const add = (box) => {
    made += 1;
    const row = document.createElement("li");
    const label = document.createElement("label");
    const tick = document.createElement("input");
    label.className = "choice";
    Object.assign(tick, { type: "checkbox", name: "box", checked: true });
    tick.dataset.drawn = "";
    const on = only?.checked ? String(frame - 1) : "all";
    const name = document.createElement("span");
    const where = on === "all" ? desk.dataset.every : filled(desk.dataset.frame, { number: frame });
    name.textContent = filled(desk.dataset.box, { number: made }) + (frames === 1 ? "" : `, ${where}`);
    label.append(tick, name, document.createElement("small"));
    row.append(label);
    list.append(row);
    chosen = tick;
    write(tick, { ...box, on });
    tick.focus({ preventScroll: true });
  };

  const leaveOut = () => {
    if (!chosen) return;
    if ("drawn" in chosen.dataset) {
      chosen.closest("li").remove();
      chosen = null;
      scroll.focus({ preventScroll: true });
    } else {
      chosen.checked = !chosen.checked;
    }
    paint();
  };

  const move = (tick, across, down, sizing) => {
    const box = read(tick);
    if (sizing) {
      box.right = Math.min(columns, Math.max(box.left + LEAST, box.right + across));
      box.bottom = Math.min(rows, Math.max(box.top + LEAST, box.bottom + down));
    } else {
      const x = Math.min(columns - box.right, Math.max(-box.left, across));
      const y = Math.min(rows - box.bottom, Math.max(-box.top, down));
      Object.assign(box, { left: box.left + x, right: box.right + x, top: box.top + y, bottom: box.bottom + y });
    }
    write(tick, box);
  };

  list.addEventListener("change", paint);
  list.addEventListener("focusin", (event) => choose(event.target));

  // ---- drawing ----
  const drawing = () => desk.classList.contains("drawing");
  const setDrawing = (on) => {
    desk.classList.toggle("drawing", on);
    draw.setAttribute("aria-pressed", String(on));
    if (on) scroll.focus({ preventScroll: true });
  };
  const pixel = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(layer.getScreenCTM().inverse());
    return { x: Math.min(columns, Math.max(0, point.x)), y: Math.min(rows, Math.max(0, point.y)) };
  };
  const between = (one, other) => ({
    top: Math.floor(Math.min(one.y, other.y)),
    left: Math.floor(Math.min(one.x, other.x)),
    bottom: Math.ceil(Math.max(one.y, other.y)),
    right: Math.ceil(Math.max(one.x, other.x)),
  });
  let from = null;
  let sketch = null;

  if (layer) {
    plate.addEventListener("pointerdown", (event) => {
      if (!drawing() || event.button !== 0) return;
      event.preventDefault();
      plate.setPointerCapture(event.pointerId);
      from = pixel(event);
      sketch = document.createElementNS(SVG, "rect");
      sketch.classList.add("active");
      layer.append(sketch);
    });
    plate.addEventListener("pointermove", (event) => {
      if (!from) return;
      const box = between(from, pixel(event));
      sketch.setAttribute("x", box.left);
      sketch.setAttribute("y", box.top);
      sketch.setAttribute("width", box.right - box.left);
      sketch.setAttribute("height", box.bottom - box.top);
    });
    plate.addEventListener("pointerup", (event) => {
      if (!from) return;
      const box = between(from, pixel(event));
      from = null;
      sketch.remove();
      if (Math.min(box.right - box.left, box.bottom - box.top) < LEAST) return;
      setDrawing(false);
      add(box);
    });
    plate.addEventListener("pointercancel", () => {
      from = null;
      sketch?.remove();
    });
  }
  draw.addEventListener("click", () => setDrawing(!drawing()));
  const middle = () => {
    const [high, wide] = [Math.max(LEAST, Math.round(rows / 10)), Math.max(LEAST, Math.round(columns / 4))];
    const [top, left] = [Math.round((rows - high) / 2), Math.round((columns - wide) / 2)];
    setDrawing(false);
    add({ top, left, bottom: top + high, right: left + wide });
  };

  // ---- frames ----
  const pictures = new Map(); // address -> promise of a picture, the one used last at the end
  const address = (number) => `${desk.dataset.base}${number}${whole.checked ? "?window=whole" : ""}`;
  const fetched = (number) => {
    const key = address(number);
    const known = pictures.get(key);
    pictures.delete(key);
    const picture = known ?? new Promise((done, fail) => {
      const image = new Image();
      image.draggable = false;
      image.src = key;
      image.decode().then(() => done(image), fail);
    });
    picture.catch(() => pictures.delete(key));
    pictures.set(key, picture);
    for (const old of pictures.keys()) {
      if (pictures.size <= KEPT) break;
      pictures.delete(old);
    }
    return picture;
  };

  const setBroken = (broken) => {
    shown.hidden = broken; // another frame must not stand under this one's number
    wrong.hidden = !broken;
    desk.classList.toggle("broken", broken);
    paint();
  };

  const show = async () => {
    const key = address(frame);
    desk.setAttribute("aria-busy", "true");
    try {
      const image = await fetched(frame);
      if (key !== address(frame)) return;
      image.alt = desk.dataset.kind + (frames > 1 ? `, ${filled(desk.dataset.frame, { number: frame })}` : "");
      shown.replaceWith(image);
      shown = image;
      setBroken(false);
    } catch {
      if (key !== address(frame)) return;
      setBroken(true);
    }
    desk.removeAttribute("aria-busy");
    for (let next = frame + 1; next <= Math.min(frames, frame + AHEAD); next += 1) fetched(next).catch(() => {});
  };

  const go = (number) => {
    const next = Math.min(Math.max(number, 1), frames);
    if (next === frame) return;
    frame = next;
    slider.value = frame;
    desk.querySelector("[data-number]").textContent = `${frame} / ${frames}`;
    chosen = null;
    paint();
    show();
  };
  slider?.addEventListener("input", () => go(Number(slider.value)));
  whole.addEventListener("change", show);

  // ---- zoom and preview ----
  const STEPS = [desk.dataset.fit, "2 ×", "4 ×"];
  let step = 0;
  zoom.addEventListener("click", () => {
    const [x, y] = [scroll.scrollLeft + scroll.clientWidth / 2, scroll.scrollTop + scroll.clientHeight / 2];
    const before = 2 ** step;
    step = (step + 1) % STEPS.length;
    plate.classList.toggle("twice", step === 1);
    plate.classList.toggle("fourfold", step === 2);
    zoom.textContent = filled(desk.dataset.zoom, { size: STEPS[step] });
    const grown = 2 ** step / before;
    scroll.scrollTo(x * grown - scroll.clientWidth / 2, y * grown - scroll.clientHeight / 2);
  });
  preview.addEventListener("change", () => desk.classList.toggle("preview", preview.checked));

  // ---- keys ----
  const SWITCH = "carina-review-letters";
  letters.checked = localStorage.getItem(SWITCH) !== "off";
  letters.addEventListener("change", () => localStorage.setItem(SWITCH, letters.checked ? "on" : "off"));

  const follow = (rel) => document.querySelector(`a[rel=${rel}]`)?.click();
  const press = (verdict) => {
    const button = form.querySelector(`[value=${verdict}]`);
    if (!button.hidden) form.requestSubmit(button);
  };
  const LETTERS = {
    a: () => press("accept"),
    n: () => press("clear"),
    r: () => press("reject"),
    d: () => setDrawing(!drawing()),
    w: () => whole.click(),
    p: () => preview.click(),
    z: () => zoom.click(),
  };
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  const arrow = (event) => {
    const [across, down] = ARROWS[event.key];
    const target = event.target;
    if (target === slider) return false;
    if (target.name === "box") return move(target, across, down, event.shiftKey) ?? true;
    if (event.shiftKey || (target === scroll && step > 0)) return false; // the browser scrolls
    if (across) return follow(across < 0 ? "prev" : "next") ?? true;
    return frames > 1 ? go(frame + down) ?? true : false;
  };

  const plain = (event) => {
    if (event.key in ARROWS) return arrow(event);
    if (event.key === "Delete" || event.key === "Backspace") return leaveOut() ?? true;
    if (event.key === "Escape") return setDrawing(false) ?? true;
    if (event.key === "Enter" && drawing() && event.target === scroll) return middle() ?? true;
    const act = LETTERS[event.key.toLowerCase()];
    return act && letters.checked && !event.repeat ? act() ?? true : false;
  };

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
    if (event.target.closest("input:not([type=checkbox], [type=range]), textarea, select")) return;
    if (plain(event)) event.preventDefault();
  });

  for (const element of document.querySelectorAll("[data-without]")) element.hidden = true;
  for (const element of document.querySelectorAll("[data-with]")) element.hidden = false;
  if (!layer) draw.hidden = true;
  preview.checked = false;
  shown.decode().catch(() => setBroken(true));
  paint();
})();
