// Paths of spans and curves, for the part of the recording that is in view.
// One path of rectangles for spans in time; those that would be thinner than a hair are widened, and joined.
function boxes(line, spans, y, height, from = 0, to = 1) {
  let path = "",
    right = -1,
    open = -1;
  const close = () => {
    if (open >= 0) path += `M${open.toFixed(1)} ${y}H${right.toFixed(1)}v${height}H${open.toFixed(1)}Z`;
  };
  for (const span of spans) {
    if (span[to] < line.begin || span[from] > line.end) continue;
    const a = Math.max(line.x(span[from]), line.left - 2),
      b = Math.min(Math.max(line.x(span[to]), a + 0.8), line.left + line.plot + 2);
    if (open >= 0 && a <= right + 0.2) {
      right = Math.max(right, b);
      continue;
    }
    close();
    open = a;
    right = b;
  }
  close();
  return path;
}

// The curve as a line, and the space between least and greatest where several frames share a pixel.
function trace(view, row, floor, tall, full) {
  const { times, high, low, broken } = view.face,
    count = times.length,
    offset = row * count;
  const first = Math.max(0, before(times, view.begin)),
    last = Math.min(count - 1, before(times, view.end) + 1);
  const y = (v) => (floor - tall * Math.min(1, v / 1000 / full)).toFixed(1);
  const dense = last - first > 1.5 * view.plot,
    spread = dense || low !== high;
  let line = "",
    area = "",
    tops = [],
    bottoms = [],
    at = NaN,
    least = 0,
    most = 0;
  const put = () => {
    if (!Number.isNaN(at)) {
      tops.push(`${at.toFixed(1)} ${y(most)}`);
      bottoms.push(`${at.toFixed(1)} ${y(least)}`);
      at = NaN;
    }
  };
  const finish = () => {
    put();
    if (!tops.length) return;
    line += `M${tops.join("L")}`;
    if (tops.length === 1) line += "h1";
    if (spread) area += `M${tops.join("L")}L${bottoms.reverse().join("L")}Z`;
    tops = [];
    bottoms = [];
  };
  for (let i = first; i <= last; i++) {
    const a = low[offset + i],
      b = high[offset + i];
    if (broken[i] || b === NONE) finish();
    if (b === NONE) continue;
    const x = dense ? Math.round(view.x(times[i])) : view.x(times[i]);
    if (x === at) {
      least = Math.min(least, a);
      most = Math.max(most, b);
      continue;
    }
    put();
    at = x;
    least = a;
    most = b;
  }
  finish();
  return { line, area };
}
