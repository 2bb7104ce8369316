'use strict';
// The report is read as data and put into the page as text alone: nothing of it ever becomes markup.
(() => {
  const report = JSON.parse(document.getElementById('report').textContent);
  const $ = (id) => document.getElementById(id);
  const ROW = 24;
  const NOTHING = [];

  // Elements -----------------------------------------------------------------

  /** An element with properties and children; strings become text. */
  function make(tag, props, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(props || {})) {
      if (name === 'class') element.className = value;
      else if (name === 'on') for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
      else if (value === true) element.setAttribute(name, '');
      else if (value !== false && value != null) element.setAttribute(name, value);
    }
    for (const child of children.flat()) if (child != null) element.append(child);
    return element;
  }

  function size(bytes) {
    if (bytes == null) return '';
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let unit = 0;
    let value = Math.abs(bytes);
    while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
    const text = unit === 0 ? String(value) : value.toFixed(value < 10 ? 1 : 0);
    return (bytes < 0 ? '−' : '') + text + ' ' + units[unit];
  }

  const many = (count, one, several) => count.toLocaleString('en') + ' ' + (count === 1 ? one : several);
  const MARKS = { added: '+', removed: '−', changed: '~' };

  // What there is ------------------------------------------------------------

  /** Every kind of difference and every class that an entry has. */
  function describe(entry) {
    const kinds = new Set(entry.fields.map((field) => field.kind));
    if (entry.content) kinds.add('content');
    const classes = new Set();
    for (const suspect of entry.content ? entry.content.suspects || NOTHING : NOTHING) classes.add(suspect.class);
    return { kinds, classes, text: entry.path.toLowerCase() };
  }

  /** The tree of the paths of one pair of images. */
  function grow(images) {
    const root = node('', '/', null, -1);
    const whole = images.layers.length || images.fields.length || report.index.length ? 'Image and layers' : 'What was compared';
    const image = node(whole, '\u0000image', root, 0);
    image.special = true;
    root.children.push(image);
    root.below.set(image.name, image);
    for (const entry of images.entries) {
      let at = root;
      const names = entry.path.split('/').filter((name) => name !== '');
      names.forEach((name, i) => {
        const last = i === names.length - 1;
        const key = last && entry.hidden_in != null ? name + '\u0000' + entry.hidden_in : name;
        let next = at.below.get(key);
        if (!next) {
          const path = (at === root ? '' : at.path) + '/' + name;
          next = node(name, last && entry.hidden_in != null ? path + '\u0000' + entry.hidden_in : path, at, at.depth + 1);
          at.below.set(key, next);
          at.children.push(next);
        }
        at = next;
      });
      // The directory that is the root itself: a row of its own, since what is below it is at the left already.
      if (at === root) {
        at = node('/', entry.hidden_in == null ? '/' : '/\u0000' + entry.hidden_in, root, 0);
        root.children.push(at);
      }
      at.entry = entry;
      at.about = describe(entry);
    }
    sum(root);
    return root;
  }

  function node(name, path, parent, depth) {
    return { name, path, parent, depth, children: [], below: new Map(), entry: null, about: null, open: false, closed: false,
      count: 0, a: 0, b: 0, hits: 0 };
  }

  function sum(at) {
    at.count = at.entry ? 1 : 0;
    at.a = at.entry && at.entry.a && at.entry.a.size || 0;
    at.b = at.entry && at.entry.b && at.entry.b.size || 0;
    for (const child of at.children) {
      sum(child);
      at.count += child.count; at.a += child.a; at.b += child.b;
    }
  }

  // State --------------------------------------------------------------------

  const state = { image: 0, query: '', changes: new Set(), kinds: new Set(), classes: new Set(), selected: null };
  const trees = report.images.map(() => null);
  let rows = [];
  let places = new Map();

  const tree = () => trees[state.image] || (trees[state.image] = report.images[state.image] ? grown(state.image) : null);

  function grown(index) {
    const root = grow(report.images[index]);
    root.open = true;
    // As much as fits on about a screen or two, the upper levels first.
    const queue = [...root.children];
    let shown = queue.length;
    for (let i = 0; i < queue.length; i += 1) {
      const at = queue[i];
      const more = at.children.length;
      if (more === 0 || more > 40 || shown + more > 120) continue;
      at.open = true;
      shown += more;
      queue.push(...at.children);
    }
    return root;
  }

  const filtered = () => state.query !== '' || state.changes.size + state.kinds.size + state.classes.size > 0;

  function passes(at) {
    if (!at.entry) return false;
    const { kinds, classes, text } = at.about;
    if (state.query !== '' && !text.includes(state.query)) return false;
    if (state.changes.size && !state.changes.has(at.entry.change)) return false;
    if (state.kinds.size && ![...state.kinds].some((kind) => kinds.has(kind))) return false;
    if (state.classes.size && ![...state.classes].some((name) => classes.has(name))) return false;
    return true;
  }

  function hits(at) {
    at.hits = passes(at) ? 1 : 0;
    for (const child of at.children) at.hits += hits(child);
    return at.hits;
  }

  /** Lists the rows that are to be seen. */
  function list() {
    rows = [];
    places = new Map();
    const root = tree();
    if (!root) return;
    const narrow = filtered();
    const total = hits(root);
    const wide = narrow && total <= 2000;
    const visit = (at) => {
      for (const child of at.children) {
        if (narrow && child.hits === 0 && !child.special) continue;
        places.set(child.path, rows.length);
        rows.push(child);
        if (child.children.length && isOpen(child, wide)) visit(child);
      }
    };
    visit(root);
    $('shown').textContent = narrow
      ? many(total, 'path', 'paths') + ' of ' + root.count.toLocaleString('en')
      : many(root.count, 'path', 'paths');
  }

  const isOpen = (at, wide) => (wide ? !at.closed : at.open);
  const wideNow = () => filtered() && tree() && tree().hits <= 2000;

  // The tree on the screen ---------------------------------------------------

  const pane = $('tree');
  const pool = [];

  function draw() {
    $('spacer').style.height = rows.length * ROW + 'px';
    const first = Math.max(0, Math.floor(pane.scrollTop / ROW) - 4);
    const count = Math.min(rows.length - first, Math.ceil(pane.clientHeight / ROW) + 8);
    while (pool.length < count) {
      const element = row();
      pool.push(element);
      pane.append(element.row);
    }
    const wide = wideNow();
    pool.forEach((element, i) => {
      const at = i < count ? rows[first + i] : null;
      element.row.hidden = !at;
      element.row.style.display = at ? '' : 'none';
      if (at) fill(element, at, first + i, wide);
    });
    const place = state.selected == null ? undefined : places.get(state.selected);
    if (place === undefined) pane.removeAttribute('aria-activedescendant');
    else pane.setAttribute('aria-activedescendant', 'row-' + place);
  }

  function row() {
    const parts = { twist: make('span', { class: 'twist' }), mark: make('span', { class: 'mark' }),
      name: make('span', { class: 'name' }), tags: make('span', { class: 'tags' }), count: make('span', { class: 'count' }),
      size: make('span', { class: 'size' }) };
    const element = make('div', { class: 'row', role: 'treeitem' }, Object.values(parts));
    return { row: element, ...parts };
  }

  function fill(element, at, place, wide) {
    const { row: line, twist, mark, name, tags, count } = element;
    line.id = 'row-' + place;
    line.dataset.path = at.path;
    line.style.transform = 'translateY(' + place * ROW + 'px)';
    line.style.paddingLeft = 8 + at.depth * 16 + 'px';
    line.classList.toggle('selected', at.path === state.selected);
    line.setAttribute('aria-selected', String(at.path === state.selected));
    line.setAttribute('aria-level', String(at.depth + 1));
    const parent = at.children.length > 0;
    const open = parent && isOpen(at, wide);
    if (parent) line.setAttribute('aria-expanded', String(open)); else line.removeAttribute('aria-expanded');
    twist.textContent = parent ? (open ? '▾' : '▸') : '';
    mark.textContent = at.entry ? MARKS[at.entry.change] : '';
    mark.className = 'mark ' + (at.entry ? at.entry.change : '');
    name.textContent = at.name + (parent && !at.special ? '/' : '');
    name.className = 'name ' + (at.entry && at.entry.change !== 'changed' ? at.entry.change : '');
    name.title = at.special ? '' : at.path.split('\u0000')[0];
    tags.replaceChildren(...labels(at));
    const below = filtered() ? at.hits : at.count;
    count.textContent = parent && below ? below.toLocaleString('en') : '';
    element.size.textContent = weight(at);
  }

  function labels(at) {
    if (!at.entry) return [];
    const found = [];
    if (at.entry.hidden_in != null) found.push(make('span', { class: 'tag' }, 'hidden'));
    for (const name of at.about.classes) found.push(make('span', { class: 'tag class' }, name));
    if (at.entry.change === 'changed') for (const kind of at.about.kinds) found.push(make('span', { class: 'tag' }, kind));
    return found.slice(0, 4);
  }

  /** What a path weighs, or how much more it does in B. */
  function weight(at) {
    if (at.special) return '';
    if (at.entry && at.entry.change === 'added') return '+' + size(at.b);
    if (at.entry && at.entry.change === 'removed') return '−' + size(at.a);
    const more = at.b - at.a;
    if (more === 0) return at.b ? size(at.b) : '';
    return (more > 0 ? '+' : '') + size(more);
  }

  pane.addEventListener('scroll', () => requestAnimationFrame(draw), { passive: true });
  new ResizeObserver(() => draw()).observe(pane);
  pane.addEventListener('click', (event) => {
    const line = event.target.closest('.row');
    if (!line) return;
    const at = rows[places.get(line.dataset.path)];
    if (!at) return;
    const again = state.selected === at.path;
    select(at);
    if (event.target.classList.contains('twist') || again && at.children.length) toggle(at);
  });

  function select(at, quiet) {
    state.selected = at ? at.path : null;
    const place = at && places.get(at.path);
    if (place !== undefined && place !== null) {
      const top = place * ROW;
      if (top < pane.scrollTop) pane.scrollTop = top;
      else if (top + ROW > pane.scrollTop + pane.clientHeight) pane.scrollTop = top + ROW - pane.clientHeight;
    }
    draw();
    show(at);
    if (!quiet) remember();
  }

  function toggle(at, open) {
    if (!at.children.length) return;
    const wide = wideNow();
    const now = open === undefined ? !isOpen(at, wide) : open;
    at.open = now;
    at.closed = !now;
    list();
    draw();
  }

  function find(path) {
    const stack = tree() ? [...tree().children] : [];
    while (stack.length) {
      const at = stack.pop();
      if (at.path === path) return at;
      if (path.startsWith(at.path + '/') || at.path === '/') stack.push(...at.children);
      else stack.push(...at.children.filter((child) => child.path === path));
    }
    return null;
  }

  // What differs of one path -------------------------------------------------

  const detail = $('detail');

  function show(at) {
    detail.scrollTop = 0;
    if (!at) detail.replaceChildren(...overview());
    else if (at.special) detail.replaceChildren(...wholeImage());
    else detail.replaceChildren(...path(at));
  }

  function overview() {
    const images = report.images[state.image];
    const out = [make('h2', {}, 'Overview')];
    if (report.cause) out.push(...cause(report.cause));
    if (images) {
      const counts = { added: 0, removed: 0, changed: 0 };
      images.entries.forEach((entry) => { counts[entry.change] += 1; });
      out.push(make('h3', {}, 'Paths'), table(['', 'Paths'], Object.entries(counts).map(([change, count]) => [
        make('button', { class: 'link ' + change, on: { click: () => pick('changes', change) } }, MARKS[change] + ' ' + change),
        count.toLocaleString('en')])));
      const why = suspected(images.entries);
      if (why.length) {
        out.push(make('h3', {}, 'Why contents may differ'));
        for (const { name, files, example, fix } of why) {
          out.push(make('div', { class: 'suspect' },
            make('button', { class: 'link', on: { click: () => pick('classes', name) } }, name),
            ' in ' + many(files, 'file', 'files'), make('div', { class: 'mono' }, example), make('div', { class: 'fix' }, fix)));
        }
      }
      if (images.unread) out.push(make('p', { class: 'note' }, many(images.unread, 'file was', 'files were') + ' not looked into.'));
    }
    for (const warning of report.warnings || NOTHING) out.push(make('p', { class: 'note' }, warning));
    const ignored = Object.entries(report.ignored || {});
    if (ignored.length) out.push(make('h3', {}, 'Ignored'), table(['Kind', 'Differences'], ignored.map(([k, n]) => [k, String(n)])));
    return out;
  }

  function cause(found) {
    const out = [make('h3', {}, 'Cause'), make('div', { class: 'suspect' }, found.line)];
    if (found.step) {
      const { name, text, file, line } = found.step;
      out.push(make('p', { class: 'note mono' }, [name, text, file ? file + ':' + line : null].filter(Boolean).join('  ')));
    }
    if (found.changed.length) out.push(pairs(found.changed));
    return out;
  }

  /** Classes by the number of files in which they were found. */
  function suspected(entries) {
    const found = new Map();
    for (const entry of entries) {
      for (const suspect of entry.content ? entry.content.suspects || NOTHING : NOTHING) {
        const known = found.get(suspect.class);
        if (known) known.files += 1;
        else found.set(suspect.class, { name: suspect.class, files: 1, example: entry.path + ': ' + suspect.example, fix: suspect.fix });
      }
    }
    return [...found.values()].sort((x, y) => y.files - x.files || (x.name < y.name ? -1 : 1));
  }

  function wholeImage() {
    const images = report.images[state.image];
    const out = [make('h2', {}, tree().children[0].name)];
    const side = (facts) => (facts ? facts.manifest || 'tree' : 'none');
    out.push(pairs([{ name: report.a.place + ' | ' + report.b.place, a: report.a.name, b: report.b.name },
      { name: 'manifest', a: side(images.a), b: side(images.b) }]));
    for (const level of ['index', 'manifest', 'config', 'history', 'layer']) {
      const fields = (level === 'index' ? report.index : images.fields).filter((field) => field.level === level);
      if (fields.length) out.push(make('h3', {}, level[0].toUpperCase() + level.slice(1)), pairs(fields));
    }
    if (images.layers.length) {
      out.push(make('h3', {}, 'Layers'));
      const cell = (layers) => make('div', {}, layers.map((layer) => make('div', { title: layer.diff_id || layer.digest || '' },
        layer.number + '  ' + (layer.created_by || short(layer.diff_id || layer.digest)) + (layer.size == null ? '' : '  ' + size(layer.size)))));
      out.push(table(['A', 'B', 'How', 'Paths'], images.layers.map((line) => [cell(line.a), cell(line.b), line.change,
        line.differences ? line.differences.toLocaleString('en') : ''])));
    }
    return out;
  }

  const short = (digest) => (digest || '').replace(/^sha256:/, '').slice(0, 12);

  function path(at) {
    const out = [make('h2', { class: 'mono' }, at.path.split('\u0000')[0])];
    const entry = at.entry;
    if (entry) {
      if (entry.hidden_in != null) {
        out.push(make('p', { class: 'note' }, 'A later layer hides this; no program of the image sees it.'));
      }
      out.push(facts(entry));
      if (entry.content) out.push(make('h3', {}, 'Content'), ...content(entry.content, 0));
    }
    if (at.children.length) {
      out.push(make('h3', {}, 'Below'), table(['', 'Paths', 'A', 'B'], at.children.slice(0, 300).map((child) => [
        make('button', { class: 'link mono', on: { click: () => reveal(child) } }, child.name + (child.children.length ? '/' : '')),
        child.count.toLocaleString('en'), size(child.a), size(child.b)])));
      if (at.children.length > 300) out.push(make('p', { class: 'note' }, many(at.children.length - 300, 'path', 'paths') + ' more'));
    }
    return out;
  }

  function facts(entry) {
    const names = ['type', 'mode', 'uid', 'gid', 'mtime', 'size', 'target', 'content', 'layer'];
    const text = (side, name) => {
      const value = side ? side[name] : null;
      if (value == null) return null;
      return name === 'size' ? value.toLocaleString('en') + ' bytes' : String(value);
    };
    const list = names.map((name) => ({ name, a: text(entry.a, name), b: text(entry.b, name) }))
      .filter((field) => field.a != null || field.b != null);
    const others = entry.fields.filter((field) => !names.includes(field.name) && field.name !== 'owner');
    return pairs([...list, ...others]);
  }

  const plain = (value) => (value == null ? null : typeof value === 'string' ? value : JSON.stringify(value, null, 1));

  /** Values of both sides beside each other. */
  function pairs(fields) {
    const body = fields.map((field) => {
      const [a, b] = [plain(field.a), plain(field.b)];
      const cell = (side, value, other) => {
        const td = make('td', { class: 'value ' + side + (value == null ? ' none' : '') });
        if (value == null) td.append('none');
        else if (other != null && value !== other) td.append(...marked(value, other));
        else td.append(value);
        return td;
      };
      return make('tr', { class: a === b ? '' : 'differs' }, make('th', { scope: 'row' }, field.name), cell('a', a, b), cell('b', b, a));
    });
    return make('table', { class: 'facts' },
      make('thead', {}, make('tr', {}, make('th', {}), make('th', {}, 'A'), make('th', {}, 'B'))), make('tbody', {}, body));
  }

  function table(heads, lines) {
    return make('table', {}, make('thead', {}, make('tr', {}, heads.map((head) => make('th', {}, head)))),
      make('tbody', {}, lines.map((line) => make('tr', {}, line.map((cell) => make('td', {}, cell))))));
  }

  function content(found, depth) {
    const out = [make('p', { class: 'summary' }, make('span', { class: 'tag' }, found.format), ' ' + found.summary)];
    if (depth === 0) {
      for (const suspect of found.suspects || NOTHING) {
        out.push(make('div', { class: 'suspect' }, make('strong', {}, suspect.class), suspect.count > 1 ? ' ×' + suspect.count : '',
          make('div', { class: 'mono' }, suspect.example), make('div', { class: 'fix' }, suspect.fix)));
      }
    }
    const { body } = found;
    if (body.show === 'text') out.push(text(body.hunks));
    else if (body.show === 'hex') out.push(hex(body.a, body.b));
    else if (body.show === 'fields' && body.fields.length) out.push(pairs(body.fields));
    else if (body.show === 'parts') body.parts.forEach((part, i) => out.push(inner(part, depth, i < 20)));
    for (const note of found.notes || NOTHING) out.push(make('p', { class: 'note' }, note));
    return out;
  }

  /** A part, which is filled when it is opened: there may be many. */
  function inner(part, depth, open) {
    const box = make('div', {});
    const fillIn = () => {
      if (box.childElementCount) return;
      if (part.fields && part.fields.length) box.append(pairs(part.fields));
      if (part.difference) box.append(...content(part.difference, depth + 1));
    };
    const empty = !part.difference && !(part.fields && part.fields.length);
    const what = part.difference ? '  ' + part.difference.summary : '';
    const fold = make('details', { class: 'part', on: { toggle: () => fold.open && fillIn() } },
      make('summary', {}, make('span', { class: part.change }, MARKS[part.change] + ' '), make('span', { class: 'mono' }, part.name),
        make('span', { class: 'note' }, what)), box);
    if (open && !empty) { fillIn(); fold.open = true; }
    return fold;
  }

  /** Lines of both sides beside each other. */
  function text(hunks) {
    const body = [];
    for (const hunk of hunks) {
      body.push(make('tr', { class: 'head' }, make('td', { colspan: 4 }, '@@ ' + hunk.a + ' | ' + hunk.b + ' @@')));
      let [a, b] = [hunk.a, hunk.b];
      const { lines } = hunk;
      for (let i = 0; i < lines.length;) {
        if (lines[i].side === 'both') {
          const same = lines[i].text;
          body.push(make('tr', {}, number(a), make('td', {}, same), number(b), make('td', {}, same)));
          a += 1; b += 1; i += 1;
          continue;
        }
        const [left, right] = [[], []];
        while (i < lines.length && lines[i].side === 'a') left.push(lines[i++].text);
        while (i < lines.length && lines[i].side === 'b') right.push(lines[i++].text);
        for (let j = 0; j < Math.max(left.length, right.length); j += 1) {
          const [x, y] = [left[j], right[j]];
          const cell = (side, own, other) => (own == null ? make('td', { class: 'empty' })
            : make('td', { class: side }, other == null ? own : marked(own, other)));
          body.push(make('tr', {}, x == null ? make('td', { class: 'no empty' }) : number(a++), cell('a', x, y),
            y == null ? make('td', { class: 'no empty' }) : number(b++), cell('b', y, x)));
        }
      }
    }
    const columns = make('colgroup', {}, [52, null, 52, null].map((width) => make('col', width ? { width } : {})));
    return make('table', { class: 'text' }, columns, make('tbody', {}, body));
  }

  const number = (value) => make('td', { class: 'no' }, String(value));

  /** A text with what the other does not have marked. */
  function marked(own, other) {
    const words = (line) => line.match(/\w+|\s+|[^\w\s]/gu) || [];
    const [x, y] = [words(own), words(other)];
    let start = 0;
    while (start < x.length && start < y.length && x[start] === y[start]) start += 1;
    let end = 0;
    while (end < x.length - start && end < y.length - start && x[x.length - 1 - end] === y[y.length - 1 - end]) end += 1;
    const [p, q] = [x.slice(start, x.length - end), y.slice(start, y.length - end)];
    const kept = p.length * q.length <= 40000 ? common(p, q) : p.map(() => false);
    const out = [x.slice(0, start).join('')];
    for (let i = 0; i < p.length;) {
      let j = i;
      while (j < p.length && kept[j] === kept[i]) j += 1;
      const piece = p.slice(i, j).join('');
      out.push(kept[i] ? piece : make('mark', {}, piece));
      i = j;
    }
    out.push(x.slice(x.length - end).join(''));
    return out;
  }

  /** Which of the words of the first are in a longest common sequence. */
  function common(p, q) {
    const wide = q.length + 1;
    const lengths = new Uint16Array((p.length + 1) * wide);
    for (let i = p.length - 1; i >= 0; i -= 1) {
      for (let j = q.length - 1; j >= 0; j -= 1) {
        lengths[i * wide + j] = p[i] === q[j] ? lengths[(i + 1) * wide + j + 1] + 1
          : Math.max(lengths[(i + 1) * wide + j], lengths[i * wide + j + 1]);
      }
    }
    const kept = p.map(() => false);
    for (let i = 0, j = 0; i < p.length && j < q.length;) {
      if (p[i] === q[j]) { kept[i] = true; i += 1; j += 1; }
      else if (lengths[(i + 1) * wide + j] >= lengths[i * wide + j + 1]) i += 1;
      else j += 1;
    }
    return kept;
  }

  function hex(a, b) {
    const bytes = (side) => (side.hex.match(/../g) || []);
    const [left, right] = [bytes(a), bytes(b)];
    const aligned = a.offset === b.offset;
    const pane = (side, own, others, offset) => {
      const out = [];
      for (let at = 0; at < own.length; at += 16) {
        const chunk = own.slice(at, at + 16);
        const differs = chunk.map((byte, i) => aligned && byte !== others[at + i]);
        out.push(make('span', { class: 'offset' }, (offset + at).toString(16).padStart(8, '0') + '  '));
        chunk.forEach((byte, i) => { out.push(differs[i] ? make('mark', {}, byte) : byte, i === 7 ? '  ' : ' '); });
        out.push(' '.repeat((16 - chunk.length) * 3 + (chunk.length < 8 ? 1 : 0) + 1));
        chunk.forEach((byte, i) => {
          const code = parseInt(byte, 16);
          const shown = code >= 32 && code < 127 ? String.fromCharCode(code) : '.';
          out.push(differs[i] ? make('mark', {}, shown) : shown);
        });
        out.push('\n');
      }
      return make('pre', { class: side }, out);
    };
    return make('div', { class: 'hex' }, pane('a', left, right, a.offset), pane('b', right, left, b.offset));
  }

  // Filters ------------------------------------------------------------------

  function chips() {
    const images = report.images[state.image];
    const box = $('chips');
    box.replaceChildren();
    if (!images) return;
    const counts = { changes: new Map(), kinds: new Map(), classes: new Map() };
    const add = (map, key) => map.set(key, (map.get(key) || 0) + 1);
    const visit = (at) => {
      if (at.entry) {
        add(counts.changes, at.entry.change);
        at.about.kinds.forEach((kind) => add(counts.kinds, kind));
        at.about.classes.forEach((name) => add(counts.classes, name));
      }
      at.children.forEach(visit);
    };
    visit(tree());
    for (const group of ['changes', 'kinds', 'classes']) {
      const found = [...counts[group]].sort((x, y) => y[1] - x[1] || (x[0] < y[0] ? -1 : 1));
      for (const [name, count] of found) {
        const on = { click: () => pick(group, name, true) };
        box.append(make('button', { class: 'chip', 'aria-pressed': String(state[group].has(name)), 'data-group': group, 'data-name': name, on },
          group === 'changes' ? MARKS[name] + ' ' + name : name, make('span', { class: 'n' }, count.toLocaleString('en'))));
      }
    }
  }

  function pick(group, name, both) {
    const set = state[group];
    if (both && set.has(name)) set.delete(name); else set.add(name);
    refresh();
  }

  /** Lists and draws anew after a filter changed. */
  function refresh(quiet) {
    list();
    document.querySelectorAll('.chip').forEach((chip) => {
      chip.setAttribute('aria-pressed', String(state[chip.dataset.group].has(chip.dataset.name)));
    });
    if (state.selected != null && !places.has(state.selected)) {
      const kept = filtered() ? null : find(state.selected);
      if (kept) { reveal(kept); return; }
      state.selected = null;
    }
    const at = state.selected == null ? null : rows[places.get(state.selected)];
    pane.scrollTop = Math.min(pane.scrollTop, rows.length * ROW);
    if (at) select(at, quiet); else { draw(); show(null); if (!quiet) remember(); }
  }

  /** Opens what leads to a path, and selects it. */
  function reveal(at) {
    for (let up = at.parent; up; up = up.parent) { up.open = true; up.closed = false; }
    list();
    if (!places.has(at.path)) { clear(); list(); }
    select(at);
  }

  function clear() {
    state.query = '';
    $('search').value = '';
    ['changes', 'kinds', 'classes'].forEach((group) => state[group].clear());
  }

  // Links into the report ----------------------------------------------------

  let own = false;

  function remember() {
    const parts = new URLSearchParams();
    if (state.image) parts.set('image', state.image);
    if (state.query) parts.set('q', state.query);
    for (const group of ['changes', 'kinds', 'classes']) if (state[group].size) parts.set(group, [...state[group]].join(','));
    if (state.selected != null) parts.set('sel', state.selected);
    const theme = document.documentElement.dataset.theme;
    if (theme) parts.set('theme', theme);
    own = true;
    history.replaceState(null, '', '#' + parts.toString().replaceAll('%2F', '/'));
    own = false;
  }

  function recall() {
    const parts = new URLSearchParams(location.hash.slice(1));
    const image = Number(parts.get('image'));
    state.image = Number.isInteger(image) && image >= 0 && image < report.images.length ? image : 0;
    clear();
    state.query = (parts.get('q') || '').toLowerCase();
    $('search').value = parts.get('q') || '';
    for (const group of ['changes', 'kinds', 'classes']) {
      state[group] = new Set((parts.get(group) || '').split(',').filter(Boolean));
    }
    const theme = parts.get('theme');
    if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
    $('platform').value = String(state.image);
    chips();
    list();
    const at = parts.has('sel') ? find(parts.get('sel')) : null;
    if (at) {
      for (let up = at.parent; up; up = up.parent) up.open = true;
      list();
    }
    draw();
    select(at && places.has(at.path) ? at : null, true);
  }

  window.addEventListener('hashchange', () => { if (!own) recall(); });

  // Keys ---------------------------------------------------------------------

  const KEYS = [['j  k  ↓  ↑', 'next and previous row'], ['n  p', 'next and previous path that differs'],
    ['l  h  →  ←', 'open and close, or go up'], ['Enter', 'open or close'], ['/', 'search'],
    ['Esc', 'leave the search, then drop filters'], ['g  G', 'first and last row'], ['o', 'overview'], ['t', 'dark or light'], ['?', 'this help']];

  function move(by) {
    if (!rows.length) return;
    const place = state.selected == null ? (by > 0 ? -1 : rows.length) : places.get(state.selected);
    select(rows[Math.min(rows.length - 1, Math.max(0, (place === undefined ? -1 : place) + by))]);
  }

  /** The next row that is a difference itself. */
  function leap(by) {
    const start = state.selected == null ? (by > 0 ? -1 : rows.length) : places.get(state.selected);
    for (let i = start + by; i >= 0 && i < rows.length; i += by) {
      const at = rows[i];
      if (filtered() ? passes(at) : at.entry) { select(at); return; }
      if (by > 0 && at.children.length && !isOpen(at, wideNow())) { toggle(at, true); }
    }
  }

  const actions = {
    j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
    PageDown: () => move(Math.floor(pane.clientHeight / ROW)), PageUp: () => move(-Math.floor(pane.clientHeight / ROW)),
    n: () => leap(1), p: () => leap(-1), g: () => move(-rows.length), Home: () => move(-rows.length),
    G: () => move(rows.length), End: () => move(rows.length),
    l: (at) => at && toggle(at, true), ArrowRight: (at) => at && toggle(at, true),
    h: (at) => close(at), ArrowLeft: (at) => close(at),
    Enter: (at) => at && toggle(at), o: () => select(null), t: () => theme(), '?': () => help(),
    '/': () => { $('search').focus(); $('search').select(); },
    Escape: () => { if (filtered()) { clear(); refresh(); } },
  };

  function close(at) {
    if (!at) return;
    if (at.children.length && isOpen(at, wideNow())) toggle(at, false);
    else if (at.parent && at.parent.parent) select(at.parent);
  }

  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $('keys').open) return;
    const search = $('search');
    if (event.target === search) {
      if (event.key === 'Escape' || event.key === 'Enter' || event.key === 'ArrowDown') {
        event.preventDefault();
        flush();
        pane.focus();
        if (event.key !== 'Escape' && state.selected == null) leap(1);
      }
      return;
    }
    const target = event.target;
    if (event.key === 'Enter' && target !== pane && target !== document.body) return;
    if (target.tagName === 'SELECT') return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action(state.selected == null ? null : rows[places.get(state.selected)]);
  });

  let pending = 0;
  function flush() {
    clearTimeout(pending);
    const query = $('search').value.trim().toLowerCase();
    if (query === state.query) return;
    state.query = query;
    pane.scrollTop = 0;
    refresh();
  }
  $('search').addEventListener('input', () => { clearTimeout(pending); pending = setTimeout(flush, 80); });

  function theme() {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset.theme = dark ? 'light' : 'dark';
    remember();
  }

  function help() {
    const box = $('keys');
    const lines = KEYS.map(([keys, what]) => make('tr', {}, make('td', {}, keys.split('  ').map((key) => [make('kbd', {}, key), ' '])), make('td', {}, what)));
    box.replaceChildren(make('h2', {}, 'Keys'), make('table', {}, make('tbody', {}, lines)),
      make('form', { method: 'dialog' }, make('button', { class: 'tool', on: { click: (event) => { event.preventDefault(); box.close(); } } }, 'Close')));
    box.showModal();
  }

  $('theme').addEventListener('click', theme);
  $('help').addEventListener('click', help);

  // Start --------------------------------------------------------------------

  function start() {
    $('title').replaceChildren(make('span', { class: 'a' }, report.a.name), '  →  ', make('span', { class: 'b' }, report.b.name));
    $('cause').textContent = report.cause ? report.cause.line : '';
    const entries = report.images.reduce((total, images) => total + images.entries.length, 0);
    const fields = report.images.reduce((total, images) => total + images.fields.length, report.index.length);
    $('verdict').textContent = report.differs
      ? many(entries, 'path differs', 'paths differ') + (fields ? ', ' + many(fields, 'field of the image', 'fields of the image') : '')
      : 'No difference';
    const choice = $('platform');
    if (report.images.length > 1) {
      choice.hidden = false;
      report.images.forEach((images, i) => choice.append(make('option', { value: i }, images.platform || 'image ' + (i + 1))));
      choice.addEventListener('change', () => { state.image = Number(choice.value); state.selected = null; chips(); refresh(); });
    }
    recall();
    pane.focus({ preventScroll: true });
  }

  start();
})();
