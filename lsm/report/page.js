"use strict";
(async () => {
  const $ = id => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const {rows, cols, west, east, south, north} = data.frame;
  const width = (east - west) / cols, height = (north - south) / rows;

  const dialog = $("large");
  for (const button of document.querySelectorAll("figure button")) button.onclick = () => {
    const from = button.querySelector("img"), to = dialog.querySelector("img");
    to.src = from.src;
    to.alt = from.alt;
    dialog.querySelector("span").textContent = button.parentElement.querySelector("figcaption").textContent;
    dialog.showModal();
  };
  dialog.onclick = event => { if (event.target === dialog) dialog.close(); };

  const sections = [...document.querySelectorAll("main > section")];
  const links = new Map([...document.querySelectorAll("nav a")].map(a => [a.hash.slice(1), a]));
  const mark = () => {
    const last = sections.filter(s => s.getBoundingClientRect().top < innerHeight / 3).pop() || sections[0];
    for (const [id, a] of links) a.toggleAttribute("aria-current", id === last.id);
  };
  addEventListener("scroll", mark, {passive: true});
  mark();

  async function unpack(text, Type) {
    const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Type(await new Response(stream).arrayBuffer());
  }
  const grids = {};
  let samples = null;
  try {
    for (const [name, v] of Object.entries(data.grids)) grids[name] = await unpack(v.data, v.bits === 32 ? Uint32Array : Uint16Array);
    if (data.samples) samples = await unpack(data.samples, Float64Array);
  } catch (error) {
    $("trouble").textContent = "This browser cannot unpack the numbers of the map (" + error.message
      + "). It shows only the picture below. Browsers from 2023 on can unpack them.";
    $("trouble").hidden = false;
    return;
  }
  const none = name => 2 ** data.grids[name].bits - 1;  // what stands for no number
  const value = (name, i) => {
    if (!grids[name] || grids[name][i] === none(name)) return null;
    return data.grids[name].low + data.grids[name].scale * grids[name][i];
  };

  // Lines between cells with different numbers of the grid of blocks, or around the cells with the number `only`.
  function borders(grid, only) {
    const id = only === undefined ? i => grid[i] : i => grid[i] === only;
    const at = (r, c) => r < 0 || c < 0 || r >= rows || c >= cols ? (only === undefined ? none("block") : false) : id(r * cols + c);
    const lines = [];
    const walk = (across, along, differs, point) => {
      for (let a = 0; a <= across; a++) for (let start = -1, b = 0; b <= along; b++) {
        const here = b < along && differs(a, b);
        if (here && start < 0) start = b;
        if (!here && start >= 0) { lines.push([point(a, start), point(a, b)]); start = -1; }
      }
    };
    walk(rows, cols, (r, c) => at(r - 1, c) !== at(r, c), (r, c) => [north - r * height, west + c * width]);
    walk(cols, rows, (c, r) => at(r, c - 1) !== at(r, c), (c, r) => [north - r * height, west + c * width]);
    return lines;
  }

  const {box} = data.frame;  // around the cells with a probability
  $("map").style.setProperty("--shape", (box[3] - box[2]) * width / ((box[1] - box[0]) * height));
  $("map").hidden = $("controls").hidden = $("goto").hidden = false;
  $("still").hidden = true;
  const bounds = [[south, west], [north, east]];
  const map = L.map("map", {crs: L.CRS.Simple, attributionControl: false, zoomSnap: 0.25, zoomDelta: 1, minZoom: -14,
    maxZoom: 3, keyboardPanDelta: 60, wheelPxPerZoomLevel: 120, maxBoundsViscosity: 0.6});
  map.fitBounds([[north - box[1] * height, west + box[2] * width], [north - box[0] * height, west + box[3] * width]]);
  map.setMinZoom(map.getZoom() - 1);
  map.setMaxBounds(L.latLngBounds(bounds).pad(0.5));
  L.control.scale({imperial: false, maxWidth: 160}).addTo(map);
  const place = L.control({position: "bottomright"});
  place.onAdd = () => L.DomUtil.create("div", "place");
  place.addTo(map);
  const metres = v => Math.round(v).toLocaleString("en");
  map.on("mousemove", e => { place.getContainer().textContent = `E ${metres(e.latlng.lng)}  N ${metres(e.latlng.lat)}`; });

  const picture = (uri, name) => L.imageOverlay(uri, bounds, {className: "pixels " + name, alt: ""});
  const relief = data.shade ? picture(data.shade, "relief").addTo(map) : null;
  const layers = Object.fromEntries(data.layers.map(l => [l.key, {...l, image: picture(l.picture || $("still").src, "theme")}]));
  const canvas = L.canvas({padding: 0.3});
  const fixed = {interactive: false, renderer: canvas};
  const outlines = grids.block ? L.polyline(borders(grids.block), {...fixed, color: "#222", weight: 0.7, opacity: 0.75}) : null;
  const dots = L.layerGroup();
  for (let i = 0; samples && i < samples.length; i += 3) {
    L.circleMarker([samples[i + 1], samples[i]], samples[i + 2]
      ? {...fixed, radius: 1.9, color: "#fff", weight: 0.5, fillColor: data.sample_colours["landslide"], fillOpacity: 1}
      : {...fixed, radius: 1.7, color: "#333", weight: 0.6, fillColor: data.sample_colours["non-landslide"], fillOpacity: 1}).addTo(dots);
  }
  const chosen = L.layerGroup().addTo(map);

  let shown = null;
  function theme(key) {
    if (shown) shown.image.remove();
    shown = layers[key];
    shown.image.addTo(map).setOpacity($("opacity").value);
    $("key-name").textContent = shown.name;
    $("key-about").textContent = shown.about;
    $("key").replaceChildren(...shown.legend.map(([colour, label]) => {
      const line = document.createElement("li"), box = document.createElement("i");
      box.style.background = colour;
      line.append(box, label);
      return line;
    }));
  }
  const toggle = (box, layer, also) => {
    if (!box || !layer) return;
    box.onchange = () => {
      box.checked ? layer.addTo(map) : layer.remove();
      if (layer === relief && shown) shown.image.bringToFront();
      if (also) also.hidden = !box.checked;
    };
    box.onchange();
  };
  for (const radio of document.querySelectorAll("#themes input")) {
    radio.onchange = () => theme(radio.value);
    if (radio.checked) theme(radio.value);  // after a reload browsers keep the choice
  }
  toggle($("relief"), relief);
  toggle($("outlines"), outlines);
  toggle($("samples"), dots, $("key-samples"));
  $("opacity").oninput = () => shown.image.setOpacity($("opacity").value);

  const percent = v => (100 * v).toFixed(1) + " %";
  function lines(x, y, i) {
    const out = [["Easting", metres(x) + " m"], ["Northing", metres(y) + " m"]];
    if (i === null) return [...out, ["", "outside the map"]];
    const p = value("probability", i), found = value("block", i), block = found === null ? null : data.blocks[found];
    if (p === null) out.push(["Probability", "none: no data here"]);
    else out.push(["Probability", p.toFixed(4), "big"], ["Class", data.classes[value("class", i) - 1]]);
    const u = value("uncertainty", i), a = value("applicability", i);
    if (u !== null) out.push(["Uncertainty", u.toFixed(4) + ", standard deviation over the members"]);
    if (a !== null) out.push(["Applicability", a.toFixed(3) + (a > data.threshold ? ", outside: above " : ", inside: up to ") + data.threshold.toFixed(3)]);
    if (found === null) return p === null ? out : [...out, ["Block", "outside every block: the model of the nearest block"]];
    out.push(["Block", found + (block && block.unit !== undefined ? `, unit ${block.unit}` : "")]);
    if (!block) return out;
    out.push(["Samples", `${block.samples}, of them ${block.landslides} landslides`]);
    if (block.state !== undefined) out.push(["Model", ["adapted to this block", "intermediate model: no samples", "intermediate model: one class only",
      "intermediate model, as in all blocks: a forecast", "adapted in part: for some members one class only,"][block.state]
      + (block.state === 0 || block.state === 4 ? ` by a share of ${block.share}, on ${block.own} samples of its own, ${block.borrowed} of others` : "")]);
    if (block.auroc) out.push(["Held out", `AUROC ${block.auroc} on ${block.scored} points`]);
    (block.leaders || []).forEach(([name, effect, share], k) => out.push([k ? "" : "Led by",
      `${name}, ${percent(share)} of |SHAP|` + (effect && `; ${effect}`)]));
    return out;
  }
  function ask(x, y) {
    const row = Math.floor((north - y) / height), col = Math.floor((x - west) / width);
    const i = row < 0 || col < 0 || row >= rows || col >= cols ? null : row * cols + col;
    const list = document.createElement("dl");
    list.className = "answer";
    for (const [name, text, kind] of lines(x, y, i)) {
      const line = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = name;
      dd.textContent = text;
      if (kind) dd.className = kind;
      line.append(dt, dd);
      list.append(line);
    }
    $("answer").replaceChildren(list);
    chosen.clearLayers();
    if (i === null) return;
    if (grids.block && grids.block[i] !== none("block")) {
      const around = borders(grids.block, grids.block[i]);
      L.polyline(around, {...fixed, color: "#fff", weight: 5}).addTo(chosen);
      L.polyline(around, {...fixed, color: "#0b4f8a", weight: 2.5}).addTo(chosen);
    }
    const corner = [north - row * height, west + col * width], other = [north - (row + 1) * height, west + (col + 1) * width];
    L.rectangle([corner, other], {...fixed, color: "#000", weight: 1.5, fill: false}).addTo(chosen);
    const middle = [(corner[0] + other[0]) / 2, (corner[1] + other[1]) / 2];
    L.circleMarker(middle, {...fixed, radius: 9, color: "#fff", weight: 5, fill: false}).addTo(chosen);
    L.circleMarker(middle, {...fixed, radius: 9, color: "#000", weight: 2, fill: false}).addTo(chosen);
  }
  map.on("click", e => ask(e.latlng.lng, e.latlng.lat));
  $("map").addEventListener("keydown", e => {
    if (e.key === "Enter" && e.target === $("map")) ask(map.getCenter().lng, map.getCenter().lat);
  });
  $("goto").onsubmit = event => {
    event.preventDefault();
    const [x, y] = ["x", "y"].map(name => Number(event.target.elements[name].value.replaceAll(",", "").trim()));
    if (!Number.isFinite(x) || !Number.isFinite(y)) return;
    ask(x, y);
    if (x >= west && x <= east && y >= south && y <= north) map.panTo([y, x]);
  };
  document.body.dataset.ready = "yes";
})();
