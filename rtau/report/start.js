// Last: show what there is.
setUpPairs();
if (still) {
  showStills();
  $("summary-legend").textContent = "All faces of all pictures together. Mean over the faces that are assessable.";
} else {
  setUpTimeline();
  $("summary-legend").textContent =
    "Click a row for its events: onset, apex and offset. A < or > stands where an event may have begun earlier " +
    "or ended later than was seen. Means are over time.";
}
if (data.faces.length) {
  showFaces();
  setUpPlayer();
  choose(data.faces[0]);
} else {
  for (const section of document.querySelectorAll("main > section:not(.words)"))
    if (section.id !== "stills-section" || !still) section.hidden = true;
}
