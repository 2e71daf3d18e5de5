// The tree of arrays: search, sorting, folding, and what is below each array. Everything that comes
// from a file is set as text, never as HTML.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const STEP = 200; // rows that are shown at first, and with each "more"
  const OPEN_AT_FIRST = 40; // rows up to which groups are open when the page opens

  // --- text ---------------------------------------------------------------------------------------

  const count = (n) => n.toLocaleString("en-US");
  const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

  function figure(x) { // as Python's format "%.3g"
    if (x === null || x === undefined) return "";
    if (typeof x !== "number") return String(x); // "nan", "inf"
    const size = Math.abs(x);
    const short = Number(x.toPrecision(3));
    if (size !== 0 && (size < 1e-4 || size >= 1e6)) return short.toExponential().replace("e+", "e");
    return String(short).replace("-", "−");
  }

  function bytes(n) {
    if (n === null) return "?";
    for (const unit of ["B", "kB", "MB", "GB"]) {
      if (n < 1000) return unit === "B" ? `${n} B` : `${n.toFixed(1)} ${unit}`;
      n /= 1000;
    }
    return `${n.toFixed(1)} TB`;
  }

  const shape = (s) => (s.length === 1 ? `(${s[0]},)` : `(${s.join(", ")})`);

  function el(tag, attributes = {}, ...children) {
    const found = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) found.setAttribute(name, value);
    }
    found.append(...children.filter((child) => child !== null && child !== ""));
    return found;
  }

  function svg(tag, attributes, ...children) {
    const found = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
    found.append(...children);
    return found;
  }

  // --- the tree -----------------------------------------------------------------------------------

  const isTwo = data.sources.length > 1;
  const between = data.arrays.some((array) => array.name.includes("/")) ? "/" : ".";

  /** The largest difference of an array, -1 if it was not compared. NaN is the largest of all. */
  function largest(array) {
    const found = array.difference;
    if (!found || found.largest === undefined || found.largest === null) return -1;
    return Number.isFinite(found.largest) ? found.largest : Infinity;
  }

  function makeTree(arrays) {
    const root = { label: "", children: [], byName: new Map() };
    for (const array of arrays) {
      const parts = array.name.split(between);
      let node = root;
      parts.forEach((part, i) => {
        const isLast = i === parts.length - 1;
        let next = isLast ? undefined : node.byName.get(part);
        if (!next) {
          next = { label: part, children: [], byName: new Map(), array: isLast ? array : null };
          if (!isLast) node.byName.set(part, next);
          node.children.push(next);
        }
        node = next;
      });
    }
    // What is alone in its group is shown in one line with it: "model/encoder", "norm/scale".
    const joined = (node) => {
      node.children = node.children.map(joined);
      if (node === root || node.array || node.children.length !== 1) return node;
      const [only] = node.children;
      only.label = node.label + between + only.label;
      return only;
    };
    const finish = (node, parent) => {
      node.parent = parent;
      node.depth = parent ? parent.depth + 1 : -1;
      node.isOpen = node === root;
      if (node.array) {
        node.arrays = 1;
        node.nbytes = node.array.nbytes || 0;
        node.largest = largest(node.array);
        node.changed = node.array.difference && node.array.difference.kind !== "equal" ? 1 : 0;
        return;
      }
      node.arrays = node.nbytes = node.changed = 0;
      node.largest = -1;
      for (const child of node.children) {
        finish(child, node);
        node.arrays += child.arrays;
        node.nbytes += child.nbytes;
        node.changed += child.changed;
        node.largest = Math.max(node.largest, child.largest);
      }
    };
    joined(root);
    finish(root, null);
    // Level by level, groups are open as long as all rows fit on a screen.
    let level = root.children;
    let shown = level.length === 1 ? 0 : level.length; // all is in one group, which is open
    for (;;) {
      const groups = level.filter((node) => !node.array);
      const next = groups.flatMap((node) => node.children);
      shown += next.length;
      if (!next.length || (shown > OPEN_AT_FIRST && level.length > 1)) break;
      for (const node of groups) node.isOpen = true;
      level = next;
    }
    return root;
  }

  const root = makeTree(data.arrays);
  const flat = data.arrays.map((array, order) => ({
    label: array.name, array, depth: 0, parent: null, children: [], isOpen: false, arrays: 1,
    nbytes: array.nbytes || 0, largest: largest(array), order, folded: array.name.toLowerCase(),
  }));

  const SORTS = {
    tree: ["as a tree", null],
    size: ["by size", (node) => node.nbytes],
    ...(isTwo ? { change: ["by difference", (node) => (node.largest < 0 ? Infinity : node.largest)] } : {}),
    norm: ["by norm", (node) => (node.array.values && node.array.values.norm) || 0],
    std: ["by spread", (node) => (node.array.values && node.array.values.std) || 0],
    zeros: ["by zeros", (node) => (node.array.values && node.array.values.zeros) || 0],
    bad: ["by NaN and Inf", (node) => (node.array.values ? node.array.values.nan + node.array.values.inf : 0)],
  };

  let limit = STEP;
  let kind = null; // of difference, or of the plan, that is shown alone
  let words = [];

  function* below(node) {
    for (const child of node.children) {
      yield child;
      if (!child.array && child.isOpen) yield* below(child);
    }
  }

  /** The nodes to show, whether as a tree or as a list. */
  function visible() {
    const sort = SORTS[byId("sort").value][1];
    if (!words.length && !kind && !sort) return { nodes: [...below(root)], isTree: true };
    const nodes = flat.filter((node) => words.every((word) => node.folded.includes(word)) &&
      (!kind || kindOf(node.array) === kind));
    if (sort) {
      nodes.forEach((node) => { node.key = sort(node); });
      nodes.sort((a, b) => (a.key === b.key ? a.order - b.order : b.key - a.key));
    }
    return { nodes, isTree: false };
  }

  const kindOf = (array) => (isTwo ? array.difference && array.difference.kind : array.plan);

  const TONES = {
    different: "odd", shape: "bad", unreadable: "bad", "only in A": "odd", "only in B": "odd", close: "good",
    mismatched: "bad", matched: "good", cast: "good", reshaped: "good", "only in source": "odd",
  };

  // --- rows ---------------------------------------------------------------------------------------

  const COLUMNS = [
    ["Name", "what", ""], ["Shape", "", ""], ["Type", "", "c2"], ["Size", "number", ""],
    ...(isTwo ? [["Max change", "number", ""], ["Cosine", "number", "c2"]] : []),
    ["Mean", "number", "c2"], ["Std", "number", "c2"], ["Min", "number", "c3"], ["Max", "number", "c3"],
    ["Histogram", "chart", "c2"],
  ];

  function nameOf(node) {
    const found = el("span", { class: "name" });
    const text = node.label || "(empty)";
    const patterns = node.folded ? words.map((word) => word.replace(/[^\p{L}\p{N}\s]/gu, "\\$&")) : [];
    // Every second part is one that matches, because of the group.
    const parts = patterns.length ? text.split(new RegExp(`(${patterns.join("|")})`, "i")) : [text];
    found.append(...parts.map((part, i) => (i % 2 ? el("mark", {}, part) : part)));
    return found;
  }

  function badges(node) {
    const { array } = node;
    if (!array) return node.changed ? [el("span", { class: "badge odd" }, `${count(node.changed)} changed`)] : [];
    const found = [];
    const add = (text, tone) => found.push(el("span", { class: `badge ${tone || ""}` }, text));
    if (array.difference && array.difference.kind !== "equal") add(array.difference.kind, TONES[array.difference.kind]);
    if (array.plan && array.plan !== "matched") add(array.plan, TONES[array.plan]);
    if (array.why) add("cannot be read", "bad");
    if (array.values && array.values.nan) add(`${count(array.values.nan)} NaN`, "bad");
    if (array.values && array.values.inf) add(`${count(array.values.inf)} infinite`, "bad");
    return found;
  }

  function cells(node) {
    const { array } = node;
    const values = (array && array.values) || {};
    const difference = (array && array.difference) || {};
    const found = [
      [el("span", { class: "fold" }), nameOf(node), ...badges(node).flatMap((badge) => [" ", badge])],
      [array ? el("span", { class: "shape" }, shape(array.shape)) : plural(node.arrays, "array")],
      [array ? el("span", { class: "dtype" }, array.dtype) : ""],
      [bytes(array ? array.nbytes : node.nbytes)],
    ];
    if (isTwo) {
      found.push([node.largest < 0 ? "" : figure(array ? difference.largest : Number.isFinite(node.largest) ? node.largest : "nan")]);
      found.push([difference.cosine === undefined || difference.cosine === null ? "" : difference.cosine.toFixed(6)]);
    }
    for (const name of ["mean", "std", "min", "max"]) found.push([figure(values[name])]);
    found.push([values.histogram && values.histogram.length ? smallBars(values.histogram) : ""]);
    return found;
  }

  function rowOf(node) {
    if (node.row && node.words === words) return node.row;
    const row = el("tr", { role: "row", class: node.array ? "leaf" : "group", "aria-level": node.depth + 1, tabindex: -1 });
    cells(node).forEach((content, i) => {
      const [, kind, hides] = COLUMNS[i];
      const cell = el("td", { role: "gridcell", class: `${kind} ${hides}`.trim() });
      cell.append(...content.filter((each) => each !== ""));
      if (i === 0) cell.style.setProperty("--depth", node.depth);
      row.append(cell);
    });
    row.node = node;
    node.row = row;
    node.words = words;
    return row;
  }

  const body = document.querySelector("#tree tbody");
  let current = null; // the node whose row has the focus, or would get it

  function render() {
    const { nodes, isTree } = visible();
    const rows = [];
    for (const node of nodes.slice(0, limit)) {
      const row = rowOf(node);
      row.setAttribute("aria-expanded", String(node.isOpen));
      rows.push(row);
      if (node.array && node.isOpen) rows.push(detailOf(node));
    }
    if (nodes.length > limit) {
      const button = el("button", { type: "button" }, `Show ${count(Math.min(STEP, nodes.length - limit))} more of ${count(nodes.length - limit)}`);
      button.addEventListener("click", () => { limit += STEP; render(); });
      rows.push(el("tr", { class: "more" }, el("td", { colspan: COLUMNS.length }, button)));
    }
    const hadFocus = body.contains(document.activeElement);
    body.replaceChildren(...rows);
    const first = nodes.find((node) => node === current) || nodes[0] || null;
    focusOn(first, hadFocus);
    const total = count(data.arrays.length);
    byId("found").value = isTree ? plural(data.arrays.length, "array") : `${count(nodes.length)} of ${total} arrays`;
  }

  function focusOn(node, really) {
    if (current && current.row) current.row.tabIndex = -1;
    current = node;
    if (!node || !node.row) return;
    node.row.tabIndex = 0;
    if (really) node.row.focus();
  }

  function toggle(node, isOpen = !node.isOpen) {
    node.isOpen = isOpen;
    render();
  }

  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr[role=row]");
    if (!row || getSelection().toString()) return;
    focusOn(row.node, true);
    toggle(row.node);
  });

  // Source: the treegrid pattern of the ARIA Authoring Practices.
  body.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr[role=row]");
    if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
    const { node } = row;
    const rows = [...body.querySelectorAll("tr[role=row]")];
    const at = rows.indexOf(row);
    const go = (to) => { if (rows[to]) focusOn(rows[to].node, true); };
    const actions = {
      ArrowDown: () => go(at + 1),
      ArrowUp: () => go(at - 1),
      Home: () => go(0),
      End: () => go(rows.length - 1),
      ArrowRight: () => (node.isOpen ? go(at + (node.array ? 0 : 1)) : toggle(node, true)),
      ArrowLeft: () => {
        if (node.isOpen) toggle(node, false);
        else if (node.parent && node.parent.row && node.parent !== root) focusOn(node.parent, true);
      },
      Enter: () => toggle(node),
      " ": () => toggle(node),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  });

  // --- what is below an array ---------------------------------------------------------------------

  function smallBars(histogram) {
    const top = Math.max(...histogram);
    const path = histogram.map((n, i) => {
      const height = n ? Math.max((n / top) * 18, 1) : 0;
      return height ? `M${i * 4.5} 18v${-height.toFixed(1)}h4v${height.toFixed(1)}z` : "";
    });
    return svg("svg", { class: "small", viewBox: "0 0 72 18", "aria-hidden": "true" }, svg("path", { class: "bar", d: path.join("") }));
  }

  /** The histogram of an array, and that of A as a line over it. */
  function histogram(values, before) {
    const [width, height] = [280, 120];
    const all = [values, before].filter((each) => each && each.histogram.length && each.min !== null);
    const low = Math.min(...all.map((each) => each.min));
    const high = Math.max(...all.map((each) => each.max));
    // Halves, since the range of all numbers itself would be infinite.
    const place = (x) => (high > low ? ((x / 2 - low / 2) / (high / 2 - low / 2)) * width : width / 2);
    const densities = all.map((each) => {
      const step = each.max / each.histogram.length - each.min / each.histogram.length;
      const total = each.histogram.reduce((a, b) => a + b, 0);
      return each.histogram.map((n) => (step > 0 ? n / total / step : n / total));
    });
    const top = Math.max(...densities.flat());
    const chart = svg("svg", { width, height: height + 20, viewBox: `0 0 ${width} ${height + 20}`, role: "img" });
    chart.append(svg("title", {}, "Histogram of the values"));
    all.forEach((each, i) => {
      const n = each.histogram.length;
      const edge = (k) => (each.max > each.min ? place(each.min * (1 - k / n) + each.max * (k / n)) : (k / n) * width);
      const y = (k) => height - (densities[i][k] / top) * (height - 6);
      if (each === values) {
        for (let k = 0; k < n; k += 1) {
          if (!each.histogram[k]) continue;
          const bar = { class: "bar", x: edge(k).toFixed(2), y: Math.min(y(k), height - 1).toFixed(2) };
          bar.width = Math.max(edge(k + 1) - edge(k) - 1, 0.75).toFixed(2);
          bar.height = Math.max(height - y(k), 1).toFixed(2);
          chart.append(svg("rect", bar, svg("title", {}, `${count(each.histogram[k])} values`)));
        }
      } else {
        let path = `M${edge(0).toFixed(2)} ${height}`;
        for (let k = 0; k < n; k += 1) path += `V${y(k).toFixed(2)}H${edge(k + 1).toFixed(2)}`;
        chart.append(svg("path", { class: "before", d: `${path}V${height}` }));
      }
    });
    chart.append(svg("line", { class: "axis", x1: 0, x2: width, y1: height + 0.5, y2: height + 0.5 }));
    const label = (x, text, anchor) => chart.append(svg("text", { x, y: height + 15, "text-anchor": anchor }, text));
    label(0, figure(low), "start");
    label(width, figure(high), "end");
    if (low < 0 && high > 0 && place(0) > 60 && place(0) < width - 60) label(place(0), "0", "middle");
    return chart;
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const mix = (a, b, part) => a.map((x, i) => Math.round(x + (b[i] - x) * part));

  /** The colour of a value between low and high: blue below zero, orange above it. */
  function colour(value, low, high) {
    const paper = dark.matches ? [34, 39, 48] : [244, 246, 249];
    const [blue, deep] = dark.matches ? [[70, 130, 220], [190, 220, 255]] : [[90, 145, 215], [16, 52, 120]];
    const [orange, burnt] = dark.matches ? [[220, 120, 50], [255, 215, 170]] : [[235, 140, 70], [140, 55, 5]];
    const top = Math.max(Math.abs(low), Math.abs(high)) || 1;
    const isSigned = low < 0;
    const part = isSigned ? Math.abs(value) / top : high > low ? (value - low) / (high - low) : 0.5;
    const [near, far] = value < 0 || !isSigned ? [blue, deep] : [orange, burnt];
    return part < 0.5 ? mix(paper, near, part * 2) : mix(near, far, part * 2 - 1);
  }

  const NOT_FINITE = [214, 39, 190];

  function heatMap(map, title, ofWhat) {
    const cellsOf = Uint8Array.from(atob(map.cells), (c) => c.charCodeAt(0));
    const canvas = el("canvas", { width: map.columns, height: map.rows, role: "img", "aria-label": title });
    const scale = Math.max(Math.min(230 / Math.max(map.columns, map.rows), 24), 1);
    canvas.style.width = `${Math.max(map.columns * scale, 6)}px`;
    canvas.style.height = `${Math.max(map.rows * scale, 6)}px`;
    const bar = el("canvas", { width: 100, height: 1, "aria-hidden": "true" });
    bar.style.width = "100px";
    bar.style.height = "10px";
    const valueOf = (cell) => map.low * (1 - cell / 254) + map.high * (cell / 254);
    const paint = () => {
      const draw = (target, colours) => {
        const context = target.getContext("2d");
        const image = context.createImageData(target.width, target.height);
        colours.forEach((rgb, i) => image.data.set([...rgb, 255], i * 4));
        context.putImageData(image, 0, 0);
      };
      const palette = Array.from({ length: 255 }, (_, i) => colour(valueOf(i), map.low, map.high));
      draw(canvas, Array.from(cellsOf, (cell) => (cell === 255 ? NOT_FINITE : palette[cell])));
      draw(bar, Array.from({ length: 100 }, (_, i) => palette[Math.round((i / 99) * 254)]));
    };
    paint();
    dark.addEventListener("change", paint);
    const [rows, columns] = map.block;
    const isExact = rows === 1 && columns === 1;
    const one = isExact
      ? `Each cell is one ${ofWhat}, at its row and its column.`
      : `Each cell is the root of the mean square of up to ${count(rows)} × ${count(columns)} ${ofWhat}s.`;
    const bad = cellsOf.includes(255) ? " Magenta: not finite." : "";
    return el("div", {},
      el("h3", {}, title), canvas,
      el("div", { class: "legend" }, figure(map.low), bar, figure(map.high)),
      el("p", { class: "note" }, one + bad));
  }

  function facts(array) {
    const { values, before } = array;
    const of = (each) => {
      if (!each) return {};
      const share = (n) => (n && each.count ? `${count(n)} (${figure((100 * n) / each.count)} %)` : count(n));
      return {
        Mean: figure(each.mean), "Std. deviation": figure(each.std), Smallest: figure(each.min),
        Largest: figure(each.max), Norm: figure(each.norm), Zeros: share(each.zeros),
        NaN: count(each.nan), Infinite: count(each.inf),
      };
    };
    const list = el("dl", { class: before ? "three" : null });
    if (before) list.append(el("dt", {}), el("dd", { class: "faint" }, "A"), el("dd", { class: "faint" }, "B"));
    const [now, then] = [of(values), of(before)];
    for (const name of Object.keys(values ? now : then)) {
      list.append(el("dt", {}, name));
      if (before) list.append(el("dd", {}, then[name] || ""));
      list.append(el("dd", {}, now[name] || ""));
    }
    return el("div", {}, el("h3", {}, "Values"), list);
  }

  function changes(difference) {
    const list = el("dl");
    const add = (name, text) => list.append(el("dt", {}, name), el("dd", {}, text));
    if (difference.largest !== undefined && difference.largest !== null) {
      add("Largest", figure(difference.largest));
      add("Mean", figure(difference.mean));
      if (difference.relative !== null) add("Largest, relative", figure(difference.relative));
      if (difference.cosine !== null) add("Cosine", difference.cosine.toFixed(6));
    }
    if (difference.beyond !== undefined) add("Beyond tolerance", `${count(difference.beyond)} of ${count(difference.count)}`);
    return el("div", {}, el("h3", {}, "Difference"), list.children.length ? list : el("p", {}, difference.note));
  }

  function detailOf(node) {
    if (node.detail) return node.detail;
    const { array } = node;
    const panel = el("div", { class: "panel" });
    const lines = [
      array.name,
      `${shape(array.shape)} ${array.dtype}, ${count(array.shape.reduce((a, b) => a * b, 1))} numbers, ${bytes(array.nbytes)}`,
    ];
    panel.append(el("div", { class: "wide" }, el("div", { class: "name" }, lines[0]), el("div", { class: "faint" }, lines[1])));
    if (array.why) panel.append(el("p", { class: "wide" }, array.why));
    if (array.plan) panel.append(el("p", { class: "wide" }, `In the plan: ${array.plan}`));
    if (array.difference && array.difference.array) panel.append(el("p", { class: "wide" }, `In A: ${array.difference.array}`));
    if (array.values || array.before) panel.append(facts(array));
    if (array.difference && array.difference.kind !== "equal") panel.append(changes(array.difference));
    const drawn = [array.values, array.before].some((each) => each && each.histogram.length);
    if (drawn) {
      const note = array.before ? el("p", { class: "note" }, "Bars: B. Line: A. The area is the same.") : "";
      panel.append(el("div", {}, el("h3", {}, "Histogram"), histogram(array.values, array.before), note));
    }
    if (array.map) panel.append(heatMap(array.map, isTwo ? "Heat map of B" : "Heat map", "value"));
    if (array.changeMap) panel.append(heatMap(array.changeMap, "B minus A", "difference"));
    node.detail = el("tr", { class: "detail" }, el("td", { colspan: COLUMNS.length }, panel));
    return node.detail;
  }

  // --- the tools ----------------------------------------------------------------------------------

  for (const [key, [label]] of Object.entries(SORTS)) byId("sort").append(el("option", { value: key }, label));
  byId("sort").addEventListener("change", () => { limit = STEP; render(); });
  byId("search").addEventListener("input", () => {
    words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    limit = STEP;
    render();
  });
  byId("search").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && current) { event.preventDefault(); focusOn(current, true); }
  });
  byId("tools").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, select, textarea");
    if (event.key === "/" && !isTyping) { event.preventDefault(); byId("search").focus(); }
    if (event.key === "Escape" && event.target === byId("search")) {
      byId("search").value = "";
      byId("search").dispatchEvent(new Event("input"));
    }
  });

  function setAll(node, isOpen) {
    for (const child of node.children) {
      if (!child.array) child.isOpen = isOpen;
      else if (!isOpen) child.isOpen = false;
      setAll(child, isOpen);
    }
  }
  byId("expand").addEventListener("click", () => { setAll(root, true); render(); });
  byId("collapse").addEventListener("click", () => {
    setAll(root, false);
    for (const node of flat) node.isOpen = false;
    limit = STEP;
    render();
  });

  const kinds = new Map();
  for (const array of data.arrays) {
    const found = kindOf(array);
    if (found) kinds.set(found, (kinds.get(found) || 0) + 1);
  }
  if (kinds.size > 1) {
    const order = Object.keys(TONES).concat("equal");
    for (const [name, number] of [...kinds].sort((a, b) => order.indexOf(a[0]) - order.indexOf(b[0]))) {
      const button = el("button", { type: "button", "aria-pressed": "false" }, `${name} ${count(number)}`);
      button.addEventListener("click", () => {
        kind = kind === name ? null : name;
        for (const other of byId("kinds").children) other.setAttribute("aria-pressed", String(kind !== null && other === button));
        limit = STEP;
        render();
      });
      byId("kinds").append(button);
    }
  }

  const head = document.querySelector("#tree thead tr");
  for (const [label, kind_, hides] of COLUMNS) {
    head.append(el("th", { scope: "col", class: `${kind_ === "what" ? "" : kind_} ${hides}`.trim() || null }, label));
  }
  addEventListener("beforeprint", () => { // all names are printed, unless they are very many
    if (data.arrays.length <= 2000 && !words.length && !kind) {
      setAll(root, true);
      limit = Infinity;
      render();
    }
  });
  byId("tools").hidden = false;
  byId("tree").hidden = false;
  render();
})();
