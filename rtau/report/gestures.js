// Mouse, touch and keys on the timeline: read values, zoom, pan.
function listen(line) {
  const { home } = line;
  let from = null,
    map = false;
  const place = (event) => {
    const box = line.svg.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * line.width,
      ((event.clientY - box.top) / box.width) * line.width,
    ];
  };
  const pan = (x) => {
    const at = line.data.begin + ((x - line.left) / line.plot) * (line.data.end - line.data.begin),
      half = (line.end - line.begin) / 2;
    line.zoom(at - half, at + half);
  };
  const inside = (x) => Math.min(Math.max(x, line.left), line.left + line.plot);
  home.addEventListener("pointerdown", (event) => {
    if (event.button || !line.svg) return;
    const [x, y] = place(event);
    map = y < 32;
    from = inside(x);
    home.setPointerCapture(event.pointerId);
    if (map) pan(x);
  });
  home.addEventListener("pointermove", (event) => {
    if (!line.svg) return;
    const [x] = place(event);
    if (from !== null && map) {
      pan(x);
      return;
    }
    if (from !== null && Math.abs(inside(x) - from) > 4) {
      const to = inside(x);
      line.chosen.setAttribute("visibility", "visible");
      line.chosen.setAttribute("x", Math.min(from, to));
      line.chosen.setAttribute("width", Math.abs(to - from));
    }
    if (x >= line.left && x <= line.left + line.plot) {
      line.point(line.time(x));
      line.told(line.cursor);
    }
  });
  home.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const to = inside(place(event)[0]),
      a = line.time(Math.min(from, to)),
      b = line.time(Math.max(from, to));
    if (!map && Math.abs(to - from) > 4) line.zoom(a, b);
    else if (!map) line.picked(a);
    from = null;
  });
  home.addEventListener("pointercancel", () => {
    from = null;
    line.chosen.setAttribute("visibility", "hidden");
  });
  home.addEventListener("pointerleave", () => {
    if (from === null && line.svg) {
      line.point(null);
      line.told(null);
    }
  });
  home.addEventListener("dblclick", () => line.zoom(line.data.begin, line.data.end));
  home.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.shiftKey) return;
      event.preventDefault();
      line.scale((event.deltaY || event.deltaX) > 0 ? 1.25 : 0.8, line.time(inside(place(event)[0])));
    },
    { passive: false },
  );
  home.addEventListener("keydown", (event) => {
    const span = line.end - line.begin,
      at = line.cursor ?? line.begin;
    const keys = {
      "+": () => line.scale(0.5),
      "-": () => line.scale(2),
      0: () => line.zoom(line.data.begin, line.data.end),
      PageDown: () => line.zoom(line.begin + span / 2, line.end + span / 2),
      PageUp: () => line.zoom(line.begin - span / 2, line.end - span / 2),
      ArrowRight: () => step(line, at, 1),
      ArrowLeft: () => step(line, at, -1),
    };
    if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });
}

// To the next frame, or bin; the view follows.
function step(line, at, by) {
  const { times } = line.face,
    place = before(times, at + 1e-9) + by;
  const time = times[Math.min(Math.max(place, 0), times.length - 1)],
    span = line.end - line.begin;
  if (time < line.begin || time > line.end) line.zoom(time - span / 2, time + span / 2);
  line.point(time);
  line.picked(time);
}
