// How a picture lies on the stage: fitted with the proportions of its pixels, enlarged, moved; a bar for its scale.
const MOST = 32; // times the fitted size
const BAR = 140; // px, the longest scale bar

/** The view of a stage. `spacing`: mm between rows and between columns, or null; `aspect`: a pixel's height by its
 * width; `stretches`: called with the pixels on the screen for each of the image. */
export const viewOf = (stage, plane, { spacing, aspect }) => {
  const bar = stage.querySelector("[data-bar]");
  const label = bar?.querySelector("[data-length]");
  let columns = 1, rows = 1, zoom = 1, x = 0, y = 0, width = 1, height = 1;

  const draw = () => {
    const whole = { width: stage.clientWidth, height: stage.clientHeight };
    const tall = rows * aspect;
    const fit = Math.min(whole.width / columns, whole.height / tall) || 1;
    width = columns * fit * zoom;
    height = tall * fit * zoom;
    const room = { x: Math.max(0, (width - whole.width) / 2), y: Math.max(0, (height - whole.height) / 2) };
    x = Math.min(Math.max(x, -room.x), room.x);
    y = Math.min(Math.max(y, -room.y), room.y);
    const style = plane.style;
    style.width = `${width}px`;
    style.height = `${height}px`;
    style.transform = `translate(${(whole.width - width) / 2 + x}px, ${(whole.height - height) / 2 + y}px)`;
    plane.classList.toggle("coarse", fit * zoom >= 4);
    stage.classList.toggle("large", zoom > 1.001);
    if (bar) drawBar();
  };

  const drawBar = () => {
    bar.hidden = !spacing;
    if (!spacing) return;
    const perMm = width / (columns * spacing[1]);
    const longest = BAR / perMm;
    const power = 10 ** Math.floor(Math.log10(longest));
    const length = [5, 2, 1].find((one) => one * power <= longest) * power;
    bar.style.width = `${length * perMm}px`;
    label.textContent = `${length >= 1 ? length : length.toPrecision(1)} mm`;
  };

  const zoomTo = (next, at) => {
    const before = zoom;
    zoom = Math.min(Math.max(next, 1), MOST);
    if (at) { // the place under the pointer stays there
      const box = stage.getBoundingClientRect();
      const [dx, dy] = [at.x - box.left - box.width / 2, at.y - box.top - box.height / 2];
      x = dx - ((dx - x) * zoom) / before;
      y = dy - ((dy - y) * zoom) / before;
    } else {
      x *= zoom / before;
      y *= zoom / before;
    }
    draw();
  };

  new ResizeObserver(draw).observe(stage);
  return {
    /** The size of the frame in pixels. */
    measure: (wide, high) => {
      if (!wide || (wide === columns && high === rows)) return;
      [columns, rows] = [wide, high];
      draw();
    },
    zoomBy: (factor, at) => zoomTo(zoom * factor, at),
    fit: () => { x = 0; y = 0; zoomTo(1); },
    isLarge: () => zoom > 1.001,
    pan: (dx, dy) => { x += dx; y += dy; draw(); },
    /** Column and row under a place on the screen, or null beside the picture. */
    pixelAt: (at) => {
      const box = plane.getBoundingClientRect();
      const column = Math.floor(((at.x - box.left) / box.width) * columns);
      const row = Math.floor(((at.y - box.top) / box.height) * rows);
      return column >= 0 && row >= 0 && column < columns && row < rows ? [column, row] : null;
    },
    draw,
  };
};
