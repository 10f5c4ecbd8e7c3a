// The numbers of each Action Unit, its events, and which go together.
// Heading, value to sort by, cell.
const COLUMNS = [
  [data.heading, (s, au) => au.au, null, "text"],
  ["", (s, au) => au.name, null, "text"],
  [
    still ? "pictures present" : "present, s",
    (s) => (still ? s.framesPresent : s.present),
    (s) => (still ? `${s.framesPresent}` : num(s.present, 2)),
  ],
  [still ? "of those assessable" : "of assessable time", (s) => s.share, null],
  [
    still ? "assessable" : "assessable, s",
    (s) => (still ? s.frames : s.judged),
    (s) => (still ? `${s.frames}` : num(s.judged, 2)),
  ],
  ["mean", (s) => s.mean, (s) => num(s.mean, 2)],
  ["mean while present", (s) => s.meanPresent, (s) => num(s.meanPresent, 2)],
  ["peak", (s) => s.peak, (s) => (s.peak === null ? "n/a" : reading(s.peak, graded))],
  ...(still
    ? [["in", (s) => s.peakName, (s) => s.peakName || ""]]
    : [
        ["at", (s) => s.peakTime, (s) => (s.peakTime === null ? "" : clock(s.peakTime, 2))],
        ["events", (s) => s.events, (s) => `${s.events}`],
        ["per min", (s) => s.rate, (s) => num(s.rate, 1)],
        ["mean event, s", (s) => s.eventMean, (s) => num(s.eventMean, 2)],
      ]),
];

function showSummary() {
  const order = aus.map((_, i) => i),
    value = (i) => COLUMNS[sorted][1](face.stats[i], aus[i]) ?? -1;
  order.sort((a, b) => ((value(a) > value(b)) - (value(a) < value(b))) * (descending ? -1 : 1) || a - b);
  const head = COLUMNS.map(([name, , , kind], i) =>
    html(
      "th",
      {
        class: kind || "",
        title: "Sort",
        onclick: () => {
          descending = sorted === i ? !descending : i > 1;
          sorted = i;
          showSummary();
        },
      },
      name + (sorted === i ? (descending ? " \u25be" : " \u25b4") : ""),
    ),
  );
  const rows = order.map((i) => {
    const s = face.stats[i],
      au = aus[i],
      swatch = html("span", { class: "swatch" });
    swatch.style.background = au.colour;
    const bar = html("i", { class: s.share ? "" : "zero" });
    bar.style.width = `calc(${(s.share || 0).toFixed(4)} * (100% - 62px))`;
    const cells = COLUMNS.slice(2).map(([, , cell]) =>
      cell ? html("td", {}, cell(s)) : html("td", { class: "share" }, bar, html("span", {}, pct(s.share))),
    );
    const name = html("td", { class: "text" }, au.name + " ");
    if (au.weak !== null) name.append(weak(au));
    const row = html(
      "tr",
      { class: `au ${s.framesPresent ? "" : "never"}` },
      html("td", { class: "text" }, swatch, au.code),
      name,
      ...cells,
    );
    if (!still) row.addEventListener("click", () => unfold(row, i));
    return row;
  });
  $("summary").replaceChildren(html("thead", {}, html("tr", {}, ...head)), html("tbody", {}, ...rows));
}

function unfold(row, column, most = 100) {
  const next = row.nextElementSibling;
  if (next && next.classList.contains("events")) {
    next.remove();
    if (most === 100) return;
  }
  const events = face.events[column],
    scale = graded ? "intensity" : "probability";
  const table = html(
    "table",
    {},
    html("tr", {}, ...["", "onset", "apex", "offset", "duration, s", scale].map((t) => html("th", {}, t))),
  );
  events
    .slice(0, most)
    .forEach(([onset, apex, offset, level, begun, ended], n) =>
      table.append(
        html(
          "tr",
          {},
          ...[
            `${n + 1}`,
            (begun ? "" : "< ") + clock(onset, 3),
            clock(apex, 3),
            (ended ? "" : "> ") + clock(offset, 3),
            num(offset - onset, 3),
            reading(level, graded),
          ].map((t) => html("td", {}, t)),
        ),
      ),
    );
  const cell = html("td", { colspan: COLUMNS.length }, events.length ? table : "no events");
  if (events.length > most)
    cell.append(
      html("button", { type: "button", onclick: () => unfold(row, column, Infinity) }, `all ${events.length}`),
    );
  row.after(html("tr", { class: "events" }, cell));
}

const MEASURES = {
  jaccard: [
    "time of both / time of either",
    "Time in which both are present, over the time in which at least one is (Jaccard).",
  ],
  phi: [
    "phi correlation",
    "Correlation of the two yes-or-no series, -1..1: above 0 they go together more than chance would have it (blue), " +
      "below 0 less (orange).",
  ],
  both: ["share of the time both", "Share of the time in which both are present; on the diagonal of the one alone."],
};

function setUpPairs() {
  $("pair-tools").append(
    html(
      "select",
      { id: "measure", onchange: showPairs },
      ...Object.entries(MEASURES).map(([value, [text]]) => html("option", { value }, text)),
    ),
  );
}

function showPairs() {
  const shown = aus.map((_, i) => i).filter((i) => face.stats[i].framesPresent > 0),
    measure = $("measure").value;
  $("pairs-section").hidden = shown.length < 2;
  const unit = still ? "faces" : "s",
    values = face.pairs[measure];
  const head = html(
    "tr",
    {},
    html("th"),
    ...shown.map((i) => html("th", { title: aus[i].name }, aus[i].short)),
  );
  const rows = shown.map((i) =>
    html(
      "tr",
      {},
      html("th", { title: aus[i].name }, aus[i].code),
      ...shown.map((j) => {
        const value = values[i][j],
          judged = face.pairs.judged[i][j],
          both = face.pairs.both[i][j];
        const cell = html("td", {
          title:
            `${aus[i].code} ${aus[i].name} and ${aus[j].code} ${aus[j].name}: ` +
            `both ${pct(both)} of ${judged.toFixed(still ? 0 : 1)} ${unit}`,
        });
        if (i === j) cell.classList.add("self");
        if (value === null) {
          cell.classList.add("none");
          return cell;
        }
        const strength = Math.abs(value);
        cell.style.backgroundColor =
          value < 0
            ? `rgba(200, 80, 0, ${(0.9 * strength).toFixed(3)})`
            : `rgba(0, 90, 150, ${(0.95 * strength).toFixed(3)})`;
        if (strength > 0.5) cell.classList.add("deep");
        cell.append(measure === "phi" ? value.toFixed(2).replace("0.", ".") : (100 * value).toFixed(0));
        return cell;
      }),
    ),
  );
  $("pairs").replaceChildren(head, ...rows);
  $("pairs-legend").textContent =
    `${MEASURES[measure][1]}${measure === "phi" ? "" : " In percent."} Only time in which both can be judged counts; ` +
    `${data.heading}s that are never present are left out; hatched: can't be told.`;
}
