// The rest of the page: which face, the player, the pictures, the tables.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const { aus, graded } = data;
const still = data.kind === "stills";
const pct = (share) => (share === null ? "n/a" : `${(100 * share).toFixed(share > 0 && share < 0.0995 ? 1 : 0)} %`);
const num = (value, digits) => (value === null ? "" : value.toFixed(digits));
let face = null,
  timeline = null,
  sorted = 0,
  descending = false;

function weak(au) {
  return html("span", { class: "weak", title: `AUC ${au.weak.toFixed(2)} on people never seen` }, "weak");
}

function choose(which) {
  face = which;
  for (const button of $("faces").children)
    button.setAttribute("aria-pressed", button.dataset.face === String(face.id));
  if (timeline) {
    timeline.show(face, shownColumns());
    showLegend();
    showNow(null);
  }
  showPeaks();
  showSummary();
  showPairs();
}

function shownColumns() {
  const all = aus.map((_, i) => i),
    which = $("which").value;
  const columns = which === "all" ? all : all.filter((i) => face.stats[i].events > 0);
  return $("order").value === "number"
    ? columns
    : columns.sort((a, b) => (face.stats[b].present || 0) - (face.stats[a].present || 0));
}

function showFaces() {
  if (data.faces.length < 2) return;
  $("faces").hidden = false;
  for (const one of data.faces) {
    const button = html("button", { type: "button", onclick: () => choose(one) });
    button.dataset.face = one.id;
    if (one.pictures.length) button.append(html("img", { src: one.pictures[0].src, alt: "" }));
    const shows = one.stats.filter((s) => s.events).length;
    button.append(
      html("span", {}, `Face ${one.id}`, html("br"), html("small", {}, `${one.seen.toFixed(1)} s, ${shows} ${data.heading}s`)),
    );
    $("faces").append(button);
  }
}

function setUpTimeline() {
  $("timeline-section").hidden = false;
  timeline = new Timeline($("timeline"), data, showNow, seek);
  const button = (text, title, act) => html("button", { type: "button", title, onclick: act }, text);
  const redraw = () => timeline.show(face, shownColumns());
  const options = (id, list) =>
    html("select", { id, onchange: redraw }, ...list.map(([value, text]) => html("option", { value }, text)));
  const shift = (part) => {
    const span = timeline.end - timeline.begin;
    timeline.zoom(timeline.begin + part * span, timeline.end + part * span);
  };
  $("tools").append(
    button("+", "Closer (+)", () => timeline.scale(0.5)),
    button("\u2212", "Farther (-)", () => timeline.scale(2)),
    button("\u25c0", "Back (Page Up)", () => shift(-0.5)),
    button("\u25b6", "On (Page Down)", () => shift(0.5)),
    button("All", "The whole recording (0, or a double click)", () => timeline.zoom(data.begin, data.end)),
    html("label", {}, "drag to zoom in, move to read values"),
    html("span", { class: "grow" }),
    options("which", [
      ["all", `all ${data.heading}s`],
      ["present", `${data.heading}s that are present`],
    ]),
    options("order", [
      ["number", "by number"],
      ["present", "by time present"],
    ]),
  );
}

function showLegend() {
  const key = (name) => html("span", { class: `key ${name}` });
  const curves = face.curves.bin
    ? `highest ${graded ? "intensity" : "probability"} of each ${face.curves.bin.toFixed(2)} s, shaded to the lowest`
    : graded
      ? "intensity 0..5"
      : "probability 0..1";
  $("legend").replaceChildren(
    key("line"),
    curves,
    key("presence"),
    "present",
    key("none"),
    "not assessable",
    key("away"),
    "face not there, or nothing recorded",
    "   \u25bc highest. At the right: value under the cursor, or the peak; bold where present." +
      (aus.some((au) => au.weak !== null) ? " Weak, or !: not read reliably." : ""),
  );
}

// The player follows the cursor, and the cursor the player.
function setUpPlayer() {
  if (!data.clip) return;
  const bytes = Uint8Array.from(atob($("clip").textContent.trim()), (c) => c.charCodeAt(0));
  const video = $("video");
  video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
  $("player").hidden = false;
  const follow = () => {
    timeline.point(video.currentTime + data.clip.begin);
    showNow(timeline.cursor);
    if (!video.paused) requestAnimationFrame(follow);
  };
  video.addEventListener("play", follow);
  video.addEventListener("seeked", () => {
    if (video.paused) follow();
  });
}

function seek(time) {
  if (data.clip) $("video").currentTime = Math.max(0, time - data.clip.begin + 1e-3);
}

function showNow(time) {
  if (!data.clip) return;
  if (time === null) time = $("video").currentTime + data.clip.begin;
  const now = aus
    .map((au, i) => [timeline.on(i, time) ? timeline.level(i, time) : null, au])
    .filter(([level]) => level !== null);
  now.sort((a, b) => b[0] - a[0]);
  const lines = now.map(([level, au]) => html("span", {}, `${au.code} ${au.name} ${reading(level, graded)}`));
  $("now").replaceChildren(html("b", {}, clock(time, 2)), ...lines);
}

function showPeaks() {
  $("peaks-section").hidden = still || !face.pictures.length;
  if (still) return;
  $("peaks").replaceChildren(
    ...[...face.pictures]
      .sort((a, b) => a.time - b.time)
      .map((picture) => {
        const go = () => {
          const half = Math.min(5, (data.end - data.begin) / 2);
          timeline.zoom(picture.time - half, picture.time + half);
          timeline.point(picture.time);
          seek(picture.time);
        };
        return html(
          "figure",
          { onclick: go, title: picture.words },
          html("img", { src: picture.src, alt: "" }),
          html(
            "figcaption",
            {},
            html("b", {}, clock(picture.time, 2)),
            picture.peak ? ` peak of ${picture.peak}` : "",
            html("br"),
            html("small", {}, picture.words),
          ),
        );
      }),
  );
}

function showStills() {
  $("stills-section").hidden = false;
  const named = data.stills.some((row) => row.picture);
  const head = html(
    "tr",
    {},
    html("th", { class: "text", colspan: named ? 2 : 1 }, "picture, face"),
    ...aus.map((au) => html("th", { title: au.name }, au.short)),
  );
  const rows = data.stills.map((row) => {
    const cells =
      row.levels === null
        ? [html("td", { class: "text", colspan: aus.length }, "no face")]
        : aus.map((au, i) => {
            const level = row.levels[i];
            if (level === null) return html("td", { class: "none", title: `${au.code} ${au.name}: not assessable` });
            const cell = html(
              "td",
              { class: row.present[i] ? "present" : "", title: `${au.code} ${au.name}: ${reading(level, graded)}` },
              num(level, 1),
            );
            const strength = 0.5 * Math.min(1, level / (graded ? 5 : 1));
            cell.style.backgroundColor = `rgba(0, 114, 178, ${strength.toFixed(3)})`;
            return cell;
          });
    const label = html(
      "td",
      { class: "text name", title: row.name },
      row.short,
      ...(row.face === null ? [] : [html("br"), html("small", {}, `face ${row.face}`)]),
    );
    const picture = row.picture
      ? html("td", { class: "text face" }, html("img", { src: row.picture, alt: "" }))
      : html("td", {});
    return html("tr", {}, ...(named ? [picture] : []), label, ...cells);
  });
  $("stills").append(html("thead", {}, head), html("tbody", {}, ...rows));
  $("stills-legend").textContent =
    (graded ? "Intensity 0..5" : "Probability 0..1") +
    "; bold and underlined: present; hatched: not assessable, which is not the same as absent.";
}
