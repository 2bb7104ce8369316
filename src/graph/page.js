"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { row: ROW, head: HEAD, column: COLUMN } = data;
  const stages = data.stages.map(([name, base, from, target, first, count, x, y, w, h, rows]) =>
    ({ name, base, from, target, first, count, x, y, w, h, rows, share: null }));
  const steps = data.steps.map(([text, status, stage, needs, micros, size, hot, line, key, why, parts]) =>
    ({ text, status, stage, needs, micros, size, hot, line, key, why, parts, users: [] }));
  steps.forEach((step, at) => {
    step.name = stages[step.stage].name + "/" + (at - stages[step.stage].first + 1);
    for (const need of step.needs) steps[need].users.push(at);
  });
  // What leads from one card to another: each pair of places once, those of the longest chain last, on top.
  const edges = [];
  steps.forEach((step, to) => {
    for (const from of step.needs) {
      if (steps[from].stage !== step.stage) edges.push({ from, to, hot: step.hot && steps[from].hot });
    }
  });
  edges.sort((a, b) => a.hot - b.hot);
  for (const stage of stages) {
    const counts = { hit: 0, miss: 0, unknown: 0, config: 0 };
    for (let at = stage.first; at < stage.first + stage.count; at++) counts[steps[at].status]++;
    stage.share = counts;
    stage.hot = false;
    for (let at = stage.first; at < stage.first + stage.count && !stage.hot; at++) stage.hot = !!steps[at].hot;
  }

  const canvas = document.getElementById("plan");
  const side = document.getElementById("side");
  const search = document.getElementById("search");
  const foundText = document.getElementById("found");
  const pen = canvas.getContext("2d");
  const view = { x: 0, y: 0, scale: 1 };
  let picked = -1;
  let found = [];
  let foundAt = -1;
  let foundSet = new Set();
  let colors = {};
  let wide = 0;
  let high = 0;
  let isAsked = false;

  const readColors = () => {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["bg", "fg", "dim", "card", "line", "hit", "miss", "unknown", "config", "hot", "pick"]) {
      colors[name] = style.getPropertyValue("--" + name).trim();
    }
  };
  const ask = () => {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => { isAsked = false; draw(); });
  };

  const placeOf = (at) => {
    const stage = stages[steps[at].stage];
    const number = at - stage.first;
    return {
      x: stage.x + Math.floor(number / stage.rows) * COLUMN,
      y: stage.y + HEAD + (number % stage.rows) * ROW,
    };
  };
  const took = (micros) => {
    if (micros < 1e6) return (micros / 1e3).toFixed(1) + "ms";
    if (micros < 6e7) return (micros / 1e6).toFixed(1) + "s";
    const secs = Math.floor(micros / 1e6);
    return Math.floor(secs / 60) + "m" + String(secs % 60).padStart(2, "0") + "s";
  };
  const bytes = (size) => {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (size >= 1000 && unit < 4) { size /= 1000; unit++; }
    return (unit && size < 100 ? size.toFixed(1) : Math.round(size)) + units[unit];
  };
  // Monospace: how much of a text fits is a matter of counting.
  const fit = (text, width, charWidth) => {
    const most = Math.max(1, Math.floor(width / charWidth));
    return text.length <= most ? text : text.slice(0, most - 1) + "…";
  };

  // Lines that are drawn at most in one go; beyond that every so manieth, and always those that matter.
  const MOST_LINES = 3000;

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = colors.bg;
    pen.fillRect(0, 0, wide, high);
    const scale = view.scale;
    pen.setTransform(ratio * scale, 0, 0, ratio * scale, -view.x * scale * ratio, -view.y * scale * ratio);
    const left = view.x, top = view.y, right = view.x + wide / scale, bottom = view.y + high / scale;
    const sees = (x, y, w, h) => x < right && x + w > left && y < bottom && y + h > top;
    const lines = linesInView(left, top, right, bottom);
    drawLines(lines, scale);
    const rowsShown = ROW * scale >= 8;
    const headShown = HEAD * scale >= 7;
    for (const stage of stages) {
      if (!sees(stage.x, stage.y, stage.w, stage.h)) continue;
      if (stage.h * scale < 3) { drawSpeck(stage, scale); continue; }
      pen.fillStyle = colors.card;
      pen.strokeStyle = stage.target ? colors.fg : stage.hot ? colors.hot : colors.line;
      // What matters is to be seen from afar: its line is as wide on the screen at any scale.
      pen.lineWidth = stage.target || stage.hot ? 2 / scale : 1 / Math.max(scale, 0.35);
      pen.beginPath();
      pen.roundRect(stage.x, stage.y, stage.w, stage.h, 6);
      pen.fill();
      pen.stroke();
      if (headShown) {
        pen.fillStyle = colors.fg;
        pen.font = "600 12px ui-monospace, 'DejaVu Sans Mono', monospace";
        pen.textBaseline = "middle";
        pen.textAlign = "left";
        pen.fillText(fit(stage.name + " from " + stage.base, stage.w - 20, 7.3), stage.x + 10, stage.y + HEAD / 2 + 1);
      } else if (!rowsShown) {
        drawName(stage, scale);
      }
      if (rowsShown) drawRows(stage, left, top, right, bottom);
      else if (ROW * scale >= 2.4) drawBlocks(stage, left, top, right, bottom);
      else if (stage.h * scale >= 48) drawCells(stage, scale, left, top, right, bottom);
      else drawShares(stage, scale);
    }
    // From afar cards stand so near each other that they hide what runs between them.
    if (!rowsShown) drawChain(lines, scale, 1.5);
    drawMarks(scale);
  }

  // A name in the size of the screen, where it has room.
  function drawName(stage, scale) {
    const size = 11 / scale;
    if (stage.w * scale < 60 || HEAD * scale < 3) return;
    pen.fillStyle = colors.fg;
    pen.font = "600 " + Math.min(size, HEAD * 0.95) + "px ui-monospace, 'DejaVu Sans Mono', monospace";
    pen.textBaseline = "middle";
    pen.textAlign = "left";
    pen.fillText(fit(stage.name, stage.w - 20, Math.min(size, HEAD * 0.95) * 0.62), stage.x + 8, stage.y + HEAD / 2);
  }

  function drawSpeck(stage, scale) {
    const { hit, miss, unknown } = stage.share;
    pen.fillStyle = stage.hot ? colors.hot : miss ? colors.miss : hit >= unknown ? colors.hit : colors.unknown;
    const least = 1.5 / scale;
    pen.fillRect(stage.x, stage.y, Math.max(stage.w, least), Math.max(stage.h, least));
  }

  function rowsInView(stage, left, top, right, bottom, each, stride = 1) {
    const columns = Math.ceil(stage.count / stage.rows);
    const c0 = Math.max(0, Math.floor((left - stage.x) / COLUMN));
    const c1 = Math.min(columns - 1, Math.floor((right - stage.x) / COLUMN));
    const first = Math.max(0, Math.floor((top - stage.y - HEAD) / ROW));
    const r0 = first - first % stride;
    const r1 = Math.min(stage.rows - 1, Math.floor((bottom - stage.y - HEAD) / ROW));
    for (let c = c0; c <= c1; c++) {
      for (let r = r0; r <= r1; r += stride) {
        const number = c * stage.rows + r;
        if (number < stage.count) each(stage.first + number, stage.x + c * COLUMN, stage.y + HEAD + r * ROW);
      }
    }
  }

  function drawRows(stage, left, top, right, bottom) {
    pen.font = "12px ui-monospace, 'DejaVu Sans Mono', monospace";
    pen.textBaseline = "middle";
    rowsInView(stage, left, top, right, bottom, (at, x, y) => {
      const step = steps[at];
      if (foundSet.has(at)) {
        pen.fillStyle = colors.pick;
        pen.globalAlpha = 0.18;
        pen.fillRect(x + 4, y + 1, COLUMN - 8, ROW - 2);
        pen.globalAlpha = 1;
      }
      pen.fillStyle = colors[step.status];
      pen.fillRect(x + 10, y + 3, 5, ROW - 6);
      const time = step.micros === null ? "" : took(step.micros);
      pen.fillStyle = step.status === "config" ? colors.dim : colors.fg;
      pen.textAlign = "left";
      pen.fillText(fit(step.text, COLUMN - 36 - time.length * 7.3, 7.3), x + 20, y + ROW / 2 + 1);
      if (time) {
        pen.fillStyle = step.hot ? colors.hot : colors.dim;
        pen.textAlign = "right";
        pen.fillText(time, x + COLUMN - 8, y + ROW / 2 + 1);
      }
    });
  }

  // A card of which no step can be told from the next: how many are what.
  function drawShares(stage, scale) {
    const counts = stage.share;
    const total = Math.max(1, counts.hit + counts.miss + counts.unknown + counts.config);
    let x = stage.x + 10;
    const w = stage.w - 20, y = stage.y + HEAD, h = stage.h - HEAD - 8;
    for (const status of ["hit", "miss", "unknown", "config"]) {
      const part = w * counts[status] / total;
      pen.fillStyle = colors[status];
      pen.fillRect(x, y, part, Math.max(h, 1.5 / scale));
      x += part;
    }
  }

  // A card of very many steps: several share a cell, which has the colour of the one that matters most.
  const MATTERS = ["config", "hit", "unknown", "miss"];
  function drawCells(stage, scale, left, top, right, bottom) {
    const stride = Math.ceil(2.4 / (ROW * scale));
    const height = stride * ROW - Math.min(8, 0.8 / scale);
    const hot = [];
    rowsInView(stage, left, top, right, bottom, (at, x, y) => {
      const row = (at - stage.first) % stage.rows;
      const end = Math.min(at + Math.min(stride, stage.rows - row), stage.first + stage.count);
      let most = 0, isHot = false, isFound = false;
      for (let step = at; step < end; step++) {
        most = Math.max(most, MATTERS.indexOf(steps[step].status));
        isHot = isHot || !!steps[step].hot;
        isFound = isFound || foundSet.has(step);
      }
      pen.fillStyle = isFound ? colors.pick : colors[MATTERS[most]];
      pen.fillRect(x + 10, y + 3, COLUMN - 20, height);
      if (isHot) hot.push([x, y + 3, height]);
    }, stride);
    drawStrips(hot);
  }

  // Beside what they are: that steps are of the longest chain.
  function drawStrips(hot) {
    pen.fillStyle = colors.hot;
    for (const [x, y, height] of hot) pen.fillRect(x + 10, y, 36, height);
  }

  // Too small to be read: what the steps are, as colours.
  function drawBlocks(stage, left, top, right, bottom) {
    let last = "";
    const hot = [];
    rowsInView(stage, left, top, right, bottom, (at, x, y) => {
      const step = steps[at];
      const color = foundSet.has(at) ? colors.pick : colors[step.status];
      // Setting a colour costs more than a rectangle.
      if (color !== last) pen.fillStyle = last = color;
      pen.fillRect(x + 10, y + 3, Math.min(COLUMN - 20, 40 + step.text.length * 5), ROW - 8);
      if (step.hot) hot.push([x, y + 3, ROW - 8]);
    });
    drawStrips(hot);
  }

  function linesInView(left, top, right, bottom) {
    const visible = [];
    for (const edge of edges) {
      const a = placeOf(edge.from), b = placeOf(edge.to);
      const x1 = a.x + COLUMN, y1 = a.y + ROW / 2, x2 = b.x, y2 = b.y + ROW / 2;
      if (Math.min(x1, x2) - 120 > right || Math.max(x1, x2) + 120 < left) continue;
      if (Math.min(y1, y2) > bottom || Math.max(y1, y2) < top) continue;
      visible.push([edge, x1, y1, x2, y2]);
    }
    return visible;
  }

  function drawLines(lines, scale) {
    const stride = Math.max(1, Math.ceil(lines.length / MOST_LINES));
    const crowd = lines.length > 1500 ? 0.18 : lines.length > 400 ? 0.35 : 0.9;
    const width = Math.max(scale, 0.25);
    stroke(lines, (edge, at) => !edge.hot && at % stride === 0, colors.unknown, 1.1 / width, crowd);
    drawChain(lines, width, 2);
    if (picked >= 0) {
      stroke(lines, (edge) => edge.from === picked || edge.to === picked, colors.pick, 2.2 / width, 1);
    }
  }

  const drawChain = (lines, scale, width) => stroke(lines, (edge) => edge.hot, colors.hot, width / scale, 1);

  function stroke(lines, want, color, width, alpha) {
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.globalAlpha = alpha;
    pen.beginPath();
    lines.forEach(([edge, x1, y1, x2, y2], at) => {
      if (!want(edge, at)) return;
      const bend = Math.min(120, Math.max(30, Math.abs(x2 - x1) / 2));
      pen.moveTo(x1, y1);
      pen.bezierCurveTo(x1 + bend, y1, x2 - bend, y2, x2, y2);
    });
    pen.stroke();
    pen.globalAlpha = 1;
  }

  function drawMarks(scale) {
    const least = 5 / scale;
    const box = (at, color, width) => {
      const { x, y } = placeOf(at);
      pen.strokeStyle = color;
      pen.lineWidth = width / scale;
      const w = Math.max(COLUMN - 6, least), h = Math.max(ROW, least);
      pen.strokeRect(x + 3, y, w, h);
    };
    if (ROW * scale < 8) {
      const stride = Math.max(1, Math.ceil(found.length / MOST_LINES));
      for (let at = 0; at < found.length; at += stride) box(found[at], colors.pick, 1);
    }
    if (picked >= 0) box(picked, colors.pick, 2.5);
  }

  const limits = () => Math.min(1, Math.max(1, wide - 48) / data.width, Math.max(1, high - 48) / data.height) * 0.8;
  const zoom = (factor, cx, cy) => {
    const scale = Math.min(4, Math.max(limits(), view.scale * factor));
    view.x += cx / view.scale - cx / scale;
    view.y += cy / view.scale - cy / scale;
    view.scale = scale;
    ask();
  };
  const all = () => {
    view.scale = Math.min(1.25, Math.max(1, wide - 48) / data.width, Math.max(1, high - 48) / data.height);
    view.x = data.width / 2 - wide / view.scale / 2;
    view.y = data.height / 2 - high / view.scale / 2;
    ask();
  };
  const show = (at, isNear) => {
    const { x, y } = placeOf(at);
    if (isNear || view.scale < 0.6) view.scale = Math.max(view.scale, 0.9);
    view.x = x + COLUMN / 2 - wide / view.scale / 2;
    view.y = y + ROW / 2 - high / view.scale / 2;
    ask();
  };

  const element = (name, text) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const links = (title, list) => {
    if (!list.length) return [];
    const items = element("ul");
    for (const at of list.slice(0, 200)) {
      const item = element("li");
      const time = steps[at].micros === null ? "" : took(steps[at].micros) + "  ";
      const button = element("button", time + steps[at].name + "  " + steps[at].text);
      button.type = "button";
      button.title = steps[at].text;
      button.addEventListener("click", () => pick(at, true));
      item.append(button);
      items.append(item);
    }
    const more = list.length > 200 ? " (the first 200 of " + list.length + ")" : "";
    return [element("h2", title + more), items];
  };
  const open = (...children) => {
    const wasHidden = side.hidden;
    side.replaceChildren(...children);
    side.hidden = false;
    side.scrollTop = 0;
    if (wasHidden) resize();
  };
  function tell(at) {
    const step = steps[at];
    const facts = element("dl");
    const fact = (name, value) => {
      if (value === null || value === "" || value === undefined) return;
      facts.append(element("dt", name), element("dd", value));
    };
    fact("cache", step.status === "unknown" ? "not known before the build" : step.status);
    fact("line", String(step.line));
    fact("took", step.micros === null ? null : took(step.micros));
    for (const [name, micros] of Object.entries(step.parts)) {
      if (micros >= 1000) fact("· " + name, took(micros));
    }
    fact("layer", step.size === null ? null : bytes(step.size));
    fact("key", step.key);
    fact("the last build did it because", step.why);
    fact("longest chain", step.hot ? "yes" : null);
    open(element("h2", step.name), element("pre", step.text), facts,
      ...links("needs", step.needs), ...links("needed by", step.users));
  }
  function pick(at, isShown) {
    picked = at;
    if (at < 0) { side.hidden = true; resize(); ask(); return; }
    tell(at);
    if (isShown) show(at, false);
    ask();
  }
  const list = (title, which) => { if (which.length) open(...links(title, which)); };

  function look() {
    const wanted = search.value.toLowerCase();
    found = [];
    if (wanted) {
      steps.forEach((step, at) => {
        if (step.text.toLowerCase().includes(wanted) || step.name.toLowerCase().includes(wanted)
          || step.status === wanted) found.push(at);
      });
    }
    foundSet = new Set(found);
    foundAt = -1;
    foundText.textContent = wanted ? found.length + " found" : "";
    ask();
  }
  const next = (by) => {
    if (!found.length) return;
    foundAt = foundAt < 0 ? (by > 0 ? 0 : found.length - 1) : (foundAt + by + found.length) % found.length;
    foundText.textContent = (foundAt + 1) + " of " + found.length;
    pick(found[foundAt], true);
  };

  const within = (at) => {
    if (picked < 0) return -1;
    const stage = stages[steps[picked].stage];
    return at >= stage.first && at < stage.first + stage.count ? at : -1;
  };
  const chain = steps.map((_, at) => at).filter((at) => steps[at].hot);
  const slowest = () => steps.map((_, at) => at).filter((at) => steps[at].micros !== null)
    .sort((a, b) => steps[b].micros - steps[a].micros).slice(0, 200);
  const onChain = () => {
    if (!chain.length) return;
    const now = chain.indexOf(picked);
    pick(chain[(now + 1) % chain.length], true);
  };
  const longest = (among) => among.reduce((best, at) =>
    best < 0 || (steps[at].hot || 0) > (steps[best].hot || 0)
      || ((steps[at].hot || 0) === (steps[best].hot || 0) && (steps[at].micros || 0) > (steps[best].micros || 0))
      ? at : best, -1);
  const keys = {
    "/": () => { search.focus(); search.select(); },
    n: () => next(1),
    N: () => next(-1),
    0: all,
    "+": () => zoom(1.3, wide / 2, high / 2),
    "=": () => zoom(1.3, wide / 2, high / 2),
    "-": () => zoom(1 / 1.3, wide / 2, high / 2),
    c: onChain,
    t: () => list("takes longest", slowest()),
    Escape: () => pick(-1, false),
    ArrowDown: () => { const at = picked < 0 ? 0 : within(picked + 1); if (at >= 0) pick(at, true); },
    ArrowUp: () => { const at = picked < 0 ? 0 : within(picked - 1); if (at >= 0) pick(at, true); },
    ArrowLeft: () => { const at = picked < 0 ? -1 : longest(steps[picked].needs); if (at >= 0) pick(at, true); },
    ArrowRight: () => { const at = picked < 0 ? -1 : longest(steps[picked].users); if (at >= 0) pick(at, true); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === search) {
      if (event.key === "Enter") { next(event.shiftKey ? -1 : 1); event.preventDefault(); }
      if (event.key === "Escape") { search.value = ""; look(); canvas.focus(); }
      return;
    }
    if (event.target instanceof HTMLButtonElement && (event.key === "Enter" || event.key === " ")) return;
    const act = Object.hasOwn(keys, event.key) ? keys[event.key] : undefined;
    if (act) { act(); event.preventDefault(); }
  });
  search.addEventListener("input", look);
  document.getElementById("fit").addEventListener("click", all);
  document.getElementById("chain").addEventListener("click", onChain);
  document.getElementById("slow").addEventListener("click", keys.t);

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return { px: event.clientX - box.left, py: event.clientY - box.top };
  };
  const stageAt = (x, y) =>
    stages.find((stage) => x >= stage.x && x < stage.x + stage.w && y >= stage.y && y < stage.y + stage.h);
  const stepAt = (px, py) => {
    const x = view.x + px / view.scale, y = view.y + py / view.scale;
    const stage = stageAt(x, y);
    if (!stage) return -1;
    const row = Math.floor((y - stage.y - HEAD) / ROW);
    const number = Math.floor((x - stage.x) / COLUMN) * stage.rows + row;
    return row >= 0 && row < stage.rows && number < stage.count ? stage.first + number : -1;
  };
  // What is below the pointer, in words: from afar nothing else says it.
  const hint = (px, py) => {
    const stage = stageAt(view.x + px / view.scale, view.y + py / view.scale);
    if (!stage) return "";
    const step = ROW * view.scale >= 2.4 ? stepAt(px, py) : -1;
    if (step >= 0) return steps[step].name + "  " + steps[step].text;
    const counts = Object.entries(stage.share).filter(([, count]) => count).map(([status, count]) => count + " " + status);
    return stage.name + " from " + stage.base + ": " + (counts.join(", ") || "no steps");
  };
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    const { px, py } = at(event);
    drag = { px, py, x: view.x, y: view.y, isMoved: false };
    canvas.setPointerCapture(event.pointerId);
    canvas.focus();
  });
  canvas.addEventListener("pointermove", (event) => {
    const { px, py } = at(event);
    if (!drag) {
      const said = hint(px, py);
      if (canvas.title !== said) canvas.title = said;
      return;
    }
    if (Math.abs(px - drag.px) + Math.abs(py - drag.py) > 4) drag.isMoved = true;
    if (!drag.isMoved) return;
    canvas.classList.add("drag");
    view.x = drag.x - (px - drag.px) / view.scale;
    view.y = drag.y - (py - drag.py) / view.scale;
    ask();
  });
  const release = (event) => {
    if (drag && !drag.isMoved && event.type === "pointerup") {
      const { px, py } = at(event);
      const step = stepAt(px, py);
      pick(step, step >= 0 && view.scale < 0.5);
    }
    drag = null;
    canvas.classList.remove("drag");
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("wheel", (event) => {
    const { px, py } = at(event);
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), px, py);
    event.preventDefault();
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => { const { px, py } = at(event); zoom(2, px, py); });

  function resize() {
    const ratio = window.devicePixelRatio || 1;
    wide = canvas.clientWidth;
    high = canvas.clientHeight;
    canvas.width = Math.round(wide * ratio);
    canvas.height = Math.round(high * ratio);
    ask();
  }
  readColors();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColors(); ask(); });
  window.addEventListener("resize", resize);
  resize();
  all();
  // A link may say what to look for: page.html#find=apt
  const wanted = /^#find=(.*)$/.exec(location.hash);
  if (wanted) {
    try { search.value = decodeURIComponent(wanted[1]); } catch { search.value = wanted[1]; }
    look();
    next(1);
  }
  draw();
})();
