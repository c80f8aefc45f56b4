// Tables that can be sorted by the buttons in their header.

// Beyond, a table scrolls by itself, so that what stands below it stays within reach.
const MOST_ROWS = 40;

const compare = (a, b) => {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return String(a).localeCompare(String(b), 'en', { numeric: true });
};
const empty = (value) => value === null || value === undefined || value === '';

/** Rows by a column, those without a value last whichever way. */
const sorted = (rows, column, descending) => {
  const known = rows.filter((row) => !empty(column.value(row)));
  known.sort((a, b) => (descending ? -1 : 1) * compare(column.value(a), column.value(b)));
  return [...known, ...rows.filter((row) => empty(column.value(row)))];
};

/**
 * Make a table.
 *
 * columns: {key, title, value(row), show(row), text, best ('low' or 'high': what the first click puts on top), hint}
 * options: {label, sort() -> '' | key | '-key', setSort(text), group(row) in the order as given, detail(row), mark(row),
 *           member(row) (it belongs to the line above), caption(rows), tall}
 * The result has `node` and `fill(rows, columns)`.
 */
const sortableTable = (options) => {
  const head = make('thead');
  const caption = make('caption');
  const table = make('table', { class: 'sticky' }, caption, head);
  const area = make('div', { class: 'scroll', role: 'region', tabindex: '0', 'aria-label': options.label }, table);
  const node = withCue(area);
  let headKeys = '';

  const next = (column) => {
    const [first, second] = column.best === 'high' ? [`-${column.key}`, column.key] : [column.key, `-${column.key}`];
    const now = options.sort();
    if (now === first) return second;
    return now === second ? '' : first;
  };
  const headCell = (column) =>
    make(
      'th',
      {
        scope: 'col',
        class: [column.text && 'text', column.name && 'name'].filter(Boolean).join(' ') || null,
        'data-key': column.key,
      },
      make('button', { type: 'button', title: column.hint, click: () => options.setSort(next(column)) }, column.title),
    );
  const cell = (column, row) => {
    const shown = column.show(row);
    const tag = column.name ? 'th' : 'td';
    const kind = [column.text ? 'text' : 'number', column.name && 'name', column.bad && column.bad(row) && 'bad'];
    return make(tag, { class: kind.filter(Boolean).join(' '), scope: column.name ? 'row' : null }, shown);
  };
  const line = (columns) => (row) => {
    const rows = [
      make(
        'tr',
        {
          class:
            [options.mark && options.mark(row) && 'chosen', options.member && options.member(row) && 'member']
              .filter(Boolean)
              .join(' ') || null,
        },
        columns.map((column) => cell(column, row)),
      ),
    ];
    const detail = options.detail && options.detail(row);
    if (detail)
      rows.push(
        make(
          'tr',
          {},
          make('td', { class: 'detail', colspan: columns.length }, make('div', { class: 'panel' }, detail)),
        ),
      );
    return rows;
  };
  const body = (rows, columns, title) =>
    make(
      'tbody',
      {},
      title &&
        make(
          'tr',
          {},
          make('th', { class: 'group', scope: 'rowgroup', colspan: columns.length }, make('span', {}, title)),
        ),
      rows.map(line(columns)),
    );

  const fill = (rows, columns) => {
    area.classList.toggle('tall', Boolean(options.tall) || rows.length > MOST_ROWS);
    const keys = columns.map((column) => column.key).join();
    if (keys !== headKeys) {
      const focused = head.contains(document.activeElement) && document.activeElement.closest('th').dataset.key;
      head.replaceChildren(make('tr', {}, columns.map(headCell)));
      if (focused) [...head.querySelectorAll('th')].find((th) => th.dataset.key === focused)?.firstChild.focus();
    }
    headKeys = keys;
    const chosen = options.sort();
    const column = columns.find((one) => chosen === one.key || chosen === `-${one.key}`);
    const descending = chosen.startsWith('-');
    head.querySelectorAll('th').forEach((th) => {
      th.setAttribute(
        'aria-sort',
        column && th.dataset.key === column.key ? (descending ? 'descending' : 'ascending') : 'none',
      );
    });
    table.querySelectorAll('tbody').forEach((old) => old.remove());
    caption.replaceChildren(make('span', {}, options.caption(rows, column, descending)));
    if (column || !options.group) {
      table.append(body(column ? sorted(rows, column, descending) : rows, columns));
      return;
    }
    const groups = new Map();
    rows.forEach((row) => groups.set(options.group(row), [...(groups.get(options.group(row)) || []), row]));
    groups.forEach((members, title) => table.append(body(members, columns, title)));
  };
  return { node, fill };
};

/** A frame that says where its content goes on to the right, as long as it does. */
const withCue = (area) => {
  const frame = make(
    'div',
    { class: 'frame' },
    area,
    make('p', { class: 'cue', 'aria-hidden': 'true' }, 'More columns to the right →'),
  );
  const look = () => frame.classList.toggle('more', area.scrollLeft + area.clientWidth < area.scrollWidth - 2);
  area.addEventListener('scroll', look, { passive: true });
  const watcher = new ResizeObserver(look);
  watcher.observe(area);
  watcher.observe(area.firstChild);
  return frame;
};

/** A small table that is only read; a cell that is no number is an object {words}. */
const plainTable = (caption, headers, rows) => {
  const cell = (content, n) => {
    if (n === 0) return make('th', { scope: 'row', class: 'text name' }, content);
    const words = typeof content === 'object';
    return make('td', { class: words ? 'text' : 'number' }, words ? content.words : content);
  };
  const head = (text, n) =>
    make('th', { scope: 'col', class: n === 0 || (rows[0] && typeof rows[0][n] === 'object') ? 'text' : null }, text);
  return withCue(
    make(
      'div',
      { class: 'scroll tall', role: 'region', tabindex: '0', 'aria-label': caption },
      make(
        'table',
        {},
        make('caption', {}, make('span', {}, caption)),
        make('thead', {}, make('tr', {}, headers.map(head))),
        make(
          'tbody',
          {},
          rows.map((cells) => make('tr', {}, cells.map(cell))),
        ),
      ),
    ),
  );
};
