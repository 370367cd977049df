// Wheel, pointer, fingers and keys of the stage, as what they mean.
const WHEEL = 40; // px of the wheel for one slice
const DOUBLE = 320; // ms between two taps

/** Tell `act` what a person does. `act`: step, pan, zoomBy, fit, isLarge, drags (the mode of the left button),
 * window, point, leave, keys. */
export const listen = (stage, act, count) => {
  const pointers = new Map(); // id -> last place
  let doing = "";
  let rest = 0;
  let apart = 0;
  let tapped = 0;
  let doubled = -DOUBLE;
  let travelled = 0;
  const perSlice = Math.max(4, Math.min(24, 400 / count)); // px of a drag for one slice

  let turned = 0;
  stage.addEventListener("wheel", (event) => {
    if (event.ctrlKey || count < 2) return; // the browser's own zoom
    event.preventDefault();
    turned += event.deltaMode === 0 ? event.deltaY : Math.sign(event.deltaY) * WHEEL;
    const steps = Math.trunc(turned / WHEEL);
    turned -= steps * WHEEL;
    if (steps) act.step(steps);
  }, { passive: false });

  const meaning = (event) => {
    if (event.pointerType !== "touch") {
      if (event.button === 1 || event.shiftKey) return "pan";
      if (event.button === 2) return "window";
    }
    if (act.drags() === "window") return "window";
    return event.pointerType !== "touch" && act.isLarge() ? "pan" : "step";
  };

  const distance = () => {
    const [one, two] = [...pointers.values()];
    return Math.hypot(one.x - two.x, one.y - two.y);
  };

  stage.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button, a, input, select, label")) return;
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (pointers.size === 2) {
      doing = "pinch";
      apart = distance();
      return;
    }
    doing = meaning(event);
    rest = travelled = 0;
  });

  const pinch = (event, last) => {
    const now = distance();
    act.pan((event.clientX - last.x) / 2, (event.clientY - last.y) / 2);
    if (now > 0 && apart > 0) {
      const [one, two] = [...pointers.values()];
      act.zoomBy(now / apart, { x: (one.x + two.x) / 2, y: (one.y + two.y) / 2 });
    }
    apart = now;
  };

  stage.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) {
      if (event.pointerType === "mouse") act.point({ x: event.clientX, y: event.clientY });
      return;
    }
    const here = { x: event.clientX, y: event.clientY };
    const [dx, dy] = [here.x - last.x, here.y - last.y];
    pointers.set(event.pointerId, here);
    travelled += Math.abs(dx) + Math.abs(dy);
    if (doing === "pinch" && pointers.size === 2) pinch(event, last);
    else if (doing === "pan") act.pan(dx, dy);
    else if (doing === "window") act.window(dx, dy);
    else if (doing === "step") {
      rest += dy;
      const steps = Math.trunc(rest / perSlice);
      rest -= steps * perSlice;
      if (steps) act.step(steps);
    }
  });

  const twice = (event) => { // browsers may tell of two taps as a double click, too
    if (event.target.closest("button, a") || event.timeStamp - doubled < DOUBLE) return;
    doubled = event.timeStamp;
    if (act.isLarge()) act.fit();
    else act.zoomBy(2, { x: event.clientX, y: event.clientY });
  };

  const release = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    if (event.type === "pointerup" && event.pointerType === "touch" && doing !== "pinch" && travelled < 10) {
      if (event.timeStamp - tapped < DOUBLE) twice(event);
      tapped = event.timeStamp;
    }
    if (!pointers.size) doing = "";
    else if (doing === "pinch") doing = "none"; // the finger that stays scrolls nothing
  };
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);
  stage.addEventListener("pointerleave", () => { if (!pointers.size) act.leave(); });
  stage.addEventListener("contextmenu", (event) => { if (act.hasWindow()) event.preventDefault(); });
  stage.addEventListener("dblclick", twice);

  stage.addEventListener("keydown", (event) => {
    if (event.target !== stage || event.metaKey) return;
    const composed = event.getModifierState("AltGraph"); // brackets of many keyboards
    if ((event.altKey || event.ctrlKey) && !composed) return;
    const name = event.shiftKey && event.key.startsWith("Arrow") ? `Shift${event.key}` : event.key;
    const done = act.keys[name] ?? act.keys[name.toLowerCase()];
    if (!done) return;
    event.preventDefault();
    done();
  });
};
