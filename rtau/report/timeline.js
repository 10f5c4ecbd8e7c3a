// The timeline: one lane per Action Unit over a common axis of seconds, drawn as SVG so that it prints sharply.
class Timeline {
  // `told` hears the time under the cursor, or null; `picked` a time that was clicked.
  constructor(home, data, told, picked) {
    Object.assign(this, { home, data, told, picked, begin: data.begin, end: data.end, cursor: null, lanes: [] });
    listen(this);
    window.addEventListener("beforeprint", () => this.draw(1000));
    window.addEventListener("afterprint", () => this.draw());
    new ResizeObserver(() => {
      if (this.face && Math.abs(this.width - home.clientWidth) > 1) this.draw();
    }).observe(home);
  }

  show(face, columns) {
    if (!face.times) {
      const c = face.curves;
      face.times = unpack(c.times, Float64Array);
      face.high = unpack(c.high, Uint16Array);
      face.low = c.low ? unpack(c.low, Uint16Array) : face.high;
      face.broken = new Uint8Array(face.times.length);
      for (const at of c.breaks) face.broken[at] = 1;
    }
    this.face = face;
    this.columns = columns;
    this.draw();
  }

  zoom(begin, end) {
    const { data } = this,
      least = Math.min(0.2, data.end - data.begin);
    const span = Math.min(Math.max(end - begin, least), data.end - data.begin);
    this.begin = Math.min(Math.max(begin, data.begin), data.end - span);
    this.end = this.begin + span;
    this.draw();
  }

  scale(factor, at = (this.begin + this.end) / 2) {
    this.zoom(at - (at - this.begin) * factor, at + (this.end - at) * factor);
  }

  x(time) {
    return this.left + ((time - this.begin) / (this.end - this.begin)) * this.plot;
  }
  time(x) {
    return this.begin + ((x - this.left) / this.plot) * (this.end - this.begin);
  }

  // The level of a column under a time, null where nothing is known.
  level(column, time) {
    const { times, high, curves } = this.face,
      count = times.length;
    if (!this.face.spans.some(([b, e]) => b <= time && time <= e)) return null;
    let at = before(times, time + curves.bin / 2 + 1e-9);
    if (at < 0) return null;
    const value = high[column * count + at];
    return value === NONE ? null : value / 1000;
  }

  // `width` in place of the window's: paper is narrower.
  draw(width = this.home.clientWidth) {
    const { home, data, face, columns } = this;
    this.width = Math.max(320, width);
    const roomy = this.width > 980;
    // An attribute's name is longer than the code of an Action Unit.
    const longest = Math.max(...data.aus.map((au) => au.code.length));
    this.left = roomy ? 244 : Math.max(84, Math.min(244, 30 + 7 * longest));
    this.right = 62;
    this.plot = this.width - this.left - this.right;
    const lane = 40,
      film = face.pictures.length ? 66 : 0;
    let y = 34;
    const svg = (this.svg = el("svg", {}));
    svg.append(
      el(
        "defs",
        {},
        el(
          "pattern",
          { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
          el("rect", { width: 1.2, height: 5, style: "fill: var(--hatch)" }),
        ),
        el("clipPath", { id: "inside" }, el("rect", { x: this.left, y: 0, width: this.plot, height: 4000 })),
      ),
    );
    this.body = el("g", { "clip-path": "url(#inside)" });
    this.drawMap(svg);
    if (film) {
      this.drawFilm(svg, y);
      y += film;
    }
    svg.append(this.body);
    this.lanes = [];
    this.drawAxis(svg, y + 12, y + 18, y + 18 + 30 + columns.length * lane, roomy);
    y += 18;
    this.drawQuality(svg, y);
    y += 30;
    for (const column of columns) {
      this.drawLane(svg, column, y, lane, roomy);
      y += lane;
    }
    this.marker = el("line", { class: "cursor", y1: film + 34, y2: y, visibility: "hidden" });
    this.stamp = el("text", { class: "bold end", x: this.width, y: film + 46 });
    this.chosen = el("rect", { class: "select", y: film + 34, height: y - film - 34, visibility: "hidden" });
    svg.append(this.chosen, this.marker, this.stamp);
    svg.setAttribute("viewBox", `0 0 ${this.width} ${y + 4}`);
    home.replaceChildren(svg);
    this.point(this.cursor);
  }

  // The whole recording in a strip: how many AUs are present, and which part is shown below.
  drawMap(svg) {
    const { data, face, plot, left } = this;
    const counts = new Uint8Array(Math.ceil(plot) + 1),
      to = (t) => ((t - data.begin) / (data.end - data.begin)) * plot;
    let most = 1;
    for (const events of face.events) {
      let free = 0; // an AU counts once in a pixel, however many of its events lie there
      for (const [onset, , offset] of events) {
        const last = Math.min(counts.length - 1, Math.ceil(to(offset)) - 1);
        for (let x = Math.max(free, Math.floor(to(onset))); x <= last; x++) most = Math.max(most, ++counts[x]);
        free = Math.max(free, last + 1);
      }
    }
    let path = `M${left} 26`;
    for (let x = 0; x < counts.length; x++) {
      const now = counts[x];
      path += `L${left + x} ${(26 - 22 * Math.min(1, now / most)).toFixed(1)}`;
    }
    svg.append(el("rect", { class: "frame", x: left, y: 3, width: plot, height: 24 }));
    for (const [b, e] of this.away())
      svg.append(el("rect", { class: "gone", x: left + to(b), y: 3, width: to(e) - to(b), height: 24 }));
    svg.append(el("path", { class: "area", d: path + `L${left + plot} 26Z` }));
    svg.append(
      el(
        "text",
        { class: "small end", x: left - 8, y: 19 },
        left > 100 ? `${data.heading}s present, up to ${most}` : `up to ${most} ${data.heading}s`,
      ),
    );
    svg.append(
      el("rect", {
        class: "window",
        x: left + to(this.begin),
        y: 3,
        width: Math.max(3, to(this.end) - to(this.begin)),
        height: 24,
      }),
    );
  }

  drawFilm(svg, y) {
    const size = 52,
      taken = [];
    svg.append(el("text", { class: "small end", x: this.left - 8, y: y + 30 }, "at peaks"));
    for (const picture of this.face.pictures) {
      if (picture.time < this.begin || picture.time > this.end) continue;
      const x = this.x(picture.time),
        at = Math.min(Math.max(x - size / 2, this.left), this.left + this.plot - size);
      if (taken.some((other) => Math.abs(other - at) < size + 3)) continue;
      taken.push(at);
      const image = el("image", { href: picture.src, x: at, y: y, width: size, height: size });
      image.append(el("title", {}, `${clock(picture.time, 2)}  ${picture.words}`));
      svg.append(image, el("path", { class: "apex", d: `M${x} ${y + size + 7}l-4 -6h8z` }));
    }
  }

  drawAxis(svg, y, top, bottom, roomy) {
    const span = this.end - this.begin,
      rough = span / Math.max(2, this.plot / 90);
    const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
    const step = steps.find((s) => s >= rough) || 14400,
      digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
    for (let n = Math.ceil(this.begin / step - 1e-9); n * step <= this.end + 1e-9; n++) {
      const x = this.x(n * step);
      this.body.append(el("line", { class: "rule", x1: x, x2: x, y1: top, y2: bottom }));
      // The right end belongs to the time under the cursor.
      if (x < this.left + this.plot - 30)
        svg.append(el("text", { class: "small mid", x, y }, clock(n * step, digits)));
    }
    svg.append(el("text", { class: "small end", x: this.left - 30, y }, roomy ? "time, min:s" : ""));
  }

  drawQuality(svg, y) {
    svg.append(el("text", { class: "soft", x: 0, y: y + 17 }, this.left > 100 ? this.data.qualityName : "quality"));
    this.drawAway(y, 28);
    svg.append(
      el("text", { class: "small end", x: this.left - 6, y: y + 9 }, "1"),
      el("text", { class: "small end", x: this.left - 6, y: y + 25 }, "0"),
    );
    const path = trace(this, this.data.aus.length, y + 24, 20, 1);
    this.body.append(
      el("path", { class: "quality", d: path.line }),
      el("line", { class: "rule", x1: this.left, x2: this.left + this.plot, y1: y + 25, y2: y + 25 }),
    );
    this.lanes.push({ column: this.data.aus.length, value: this.valueAt(svg, y + 18), plain: true });
  }

  drawLane(svg, column, y, height, roomy) {
    const { data, face } = this,
      au = data.aus[column],
      floor = y + height - 8,
      tall = height - 13;
    const name = el("text", { class: "bold", x: 0, y: y + 24 }, au.code);
    name.append(el("title", {}, `${au.code} ${au.name}`));
    svg.append(el("rect", { x: 0, y: y + 29, width: 32, height: 3, rx: 1, style: `fill: ${au.colour}` }), name);
    if (roomy) svg.append(el("text", { class: "soft", x: 44, y: y + 24 }, au.name));
    if (au.weak !== null) {
      const mark = el("text", { class: "apex bold", x: roomy ? 190 : 40, y: y + 24 }, roomy ? "weak" : "!");
      mark.append(el("title", {}, `Not read reliably: AUC ${au.weak.toFixed(2)} on people never seen`));
      svg.append(mark);
    }
    this.drawAway(y, height - 1);
    const hatched = boxes(this, face.unjudged[face.unjudgedOf[column]] || [], y, height - 1);
    const events = face.events[column];
    const bands = boxes(this, events, y, height - 4, 0, 2),
      bars = boxes(this, events, floor + 2, 4, 0, 2);
    const path = trace(this, column, floor, tall, data.graded ? 5 : 1);
    this.body.append(
      el("path", { d: hatched, style: "fill: url(#hatch)" }),
      el("path", { class: "band", d: bands }),
      el("line", { class: "floor", x1: this.left, x2: this.left + this.plot, y1: floor + 0.5, y2: floor + 0.5 }),
      el("path", { class: "area", d: path.area }),
      el("path", { class: "curve", d: path.line }),
      el("path", { class: "on", d: bars }),
    );
    svg.append(
      el("text", { class: "small end", x: this.left - 6, y: y + 10 }, data.graded ? "5" : "1"),
      el("text", { class: "small end", x: this.left - 6, y: floor + 3 }, "0"),
      el("line", { class: "rule", x1: 0, x2: this.width, y1: y + height - 0.5, y2: y + height - 0.5 }),
    );
    const peak = face.stats[column];
    if (peak.events && peak.peakTime >= this.begin && peak.peakTime <= this.end) {
      const top = floor - tall * Math.min(1, peak.peak / (data.graded ? 5 : 1));
      this.body.append(el("path", { class: "apex", d: `M${this.x(peak.peakTime)} ${top - 0.5}l-3.5 -5h7z` }));
    }
    this.lanes.push({ column, value: this.valueAt(svg, y + 24), plain: false });
  }

  valueAt(svg, y) {
    const text = el("text", { class: "end", x: this.width, y });
    svg.append(text);
    return text;
  }

  // When the face is not there, or nothing was recorded.
  away() {
    const { data, face } = this,
      holes = [];
    let last = data.begin;
    for (const [b, e] of face.spans) {
      if (b > last) holes.push([last, b]);
      last = Math.max(last, e);
    }
    if (last < data.end) holes.push([last, data.end]);
    return holes;
  }

  drawAway(y, height) {
    this.body.append(el("path", { class: "gone", d: boxes(this, this.away(), y, height) }));
  }

  // Move the cursor to a time and show every lane's value there; null takes it away.
  point(time) {
    this.cursor = time;
    const shown = time !== null && time >= this.begin && time <= this.end;
    this.marker.setAttribute("visibility", shown ? "visible" : "hidden");
    this.stamp.textContent = time === null ? "peak" : clock(time, 2);
    if (shown) for (const end of ["x1", "x2"]) this.marker.setAttribute(end, this.x(time));
    for (const { column, value, plain } of this.lanes) {
      const peak = plain ? null : this.face.stats[column].peak;
      const level = time === null ? peak : this.level(column, time);
      value.textContent =
        level === null
          ? plain && time === null
            ? ""
            : "n/a"
          : plain
            ? level.toFixed(2)
            : reading(level, this.data.graded);
      value.setAttribute("class", `end ${!plain && level !== null && this.on(column, time) ? "bold" : "soft"}`);
    }
  }

  on(column, time) {
    return time === null
      ? this.face.stats[column].events > 0
      : this.face.events[column].some(([b, , e]) => b <= time && time < e);
  }
}
