// Start of the page: theme, tracks, and what has to be drawn anew when the view changes.

const THEME = 'golfbench-theme';
const root = document.documentElement;
const system = window.matchMedia('(prefers-color-scheme: dark)');
let shownTrack = null;

// Some browsers refuse storage to pages opened from disk; the choice then lasts as long as the page.
const remembered = () => {
  try {
    return window.localStorage.getItem(THEME);
  } catch {
    return null;
  }
};
const remember = (name) => {
  try {
    window.localStorage.setItem(THEME, name);
  } catch {
    /* lasts as long as the page */
  }
};

const setTheme = (name) => {
  root.dataset.theme = name;
  document.getElementById('theme').setAttribute('aria-pressed', String(name === 'dark'));
  if (shownTrack) shownTrack.recolour();
};

const protocolText = (protocol) =>
  Object.entries(protocol)
    .map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(', ') || 'none' : value}`)
    .join('; ');

/** What all entries have in common; closed where there is little room. */
const trackFacts = (track) => {
  const summary = [
    track.method,
    plural(track.source.test_molecules, 'test molecule'),
    plural(track.source.initial_labels, 'initial label'),
  ].join(', ');
  return make(
    'details',
    { class: 'about', open: window.matchMedia('(min-width: 40rem)').matches },
    make('summary', {}, `What is compared: ${summary}`),
    allFacts(track),
  );
};
const allFacts = (track) => {
  const ranked = measureOf(track, track.ranked);
  return facts([
    ['Level of theory', track.method],
    ['Oracle', track.oracle.name],
    [
      'Dataset',
      [
        `${track.dataset.name}: ${plural(track.source.test_molecules, 'test molecule')}, ${plural(track.source.initial_labels, 'initial label')}; content `,
        make('code', {}, track.dataset.sha256.slice(0, 12)),
      ],
    ],
    ['Protocol', protocolText(track.protocol)],
    ['Budgets', `${track.budgets.join(', ')} training labels`],
    ['Ranked by', `${titled(ranked)}, ${track.lower_is_better ? 'lowest' : 'highest'} first`],
    [
      'Files',
      track.published
        ? [
            fileLink([track.name, 'track.yaml'], 'track.yaml'),
            ', ',
            fileLink([track.name, 'leaderboard.csv'], 'leaderboard.csv'),
          ]
        : null,
    ],
    ...constantFacts(track).map(([name, text]) => [`${name}, of all entries`, text]),
  ]);
};

/** The answer to what a reader came for: the sentence, and the numbers of the entry that it names. */
const answerOf = (track) => {
  if (!track.answer) return '';
  const entry = track.entries.find((one) => one.entry_id === track.answer.entry_id);
  const second = track.ranked === 'success_pct' ? 'residual_kcal_mol_mean_all' : 'success_pct';
  const tile = (value, unit, ...words) =>
    make('li', {}, make('strong', {}, value), unit && ` ${unit}`, make('span', { class: 'note' }, words));
  const number = (name) => {
    const measure = measureOf(track, name);
    const { value, low, high } = entry.estimates[name];
    const ends = `[${fixed(low, measure.decimals)}, ${fixed(high, measure.decimals)}]`;
    return tile(fixed(value, measure.decimals), measure.unit, `${measure.title} ${ends}`);
  };
  const labels = entry.stage === 'reference' ? 'it learns from none' : 'learned from in all';
  return make(
    'section',
    { class: 'answer', 'aria-label': 'Answer' },
    heading(3, 'Which model should I use?'),
    make('p', { class: 'sentence' }, track.answer.sentence),
    make(
      'ul',
      { class: 'tiles' },
      number(track.ranked),
      number(second),
      tile(short(entry.labels_in_all), 'labels', labels),
    ),
    make(
      'details',
      {},
      make('summary', {}, 'How sure is that?'),
      make('p', { class: 'note' }, track.answer.remarks.join(' ')),
      make(
        'p',
        { class: 'note' },
        `In brackets: ${content.facts.confidence_pct} % intervals. Of the ranked entries that cannot be told apart from the best one, the sentence names the one with the fewest labels; a fixed model only where it is measurably better than all of them. `,
        make(
          'button',
          { type: 'button', class: 'plain', click: () => go({ entry: entry.entry_id }) },
          'Open the entry.',
        ),
      ),
    ),
  );
};

const buildTrack = (index) => {
  const track = content.tracks[index];
  const standings = standingsOf(track);
  const plots = track.entries.length ? plotsOf(track, () => filteredEntries(track)) : null;
  const molecules = moleculesOf(track, index);
  document
    .getElementById('main')
    .replaceChildren(
      heading(2, track.title),
      track.description ? make('p', {}, track.description) : '',
      answerOf(track),
      trackFacts(track),
      ...track.notes.map((note) => make('p', { class: 'warn' }, note)),
      standings.node,
      ...(plots ? [plots.node] : []),
      modelsOf(track),
      molecules.node,
    );
  document.title = `${track.title} – ${content.title}`;
  standings.fill();
  molecules.fill();
  molecules.update();
  if (plots) plots.draw();
  return {
    standings,
    plots,
    molecules,
    recolour: () => {
      if (plots) plots.draw();
      molecules.recolour();
    },
  };
};

const buildNavigation = () => {
  const links = content.tracks.map((track) =>
    link(trackAddress(track.name), track.published ? track.name : track.title, {
      'aria-current': track.name === state.track ? 'page' : null,
      click: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        go(
          Object.fromEntries(
            Object.entries(DEFAULTS)
              .filter(([name]) => !KEPT_BETWEEN_TRACKS.includes(name))
              .concat([['track', track.name]]),
          ),
        );
      },
    }),
  );
  document.getElementById('tracks').replaceChildren(...links);
};

const anyOf = (changed, ...names) => names.some((name) => changed.has(name));

let waiting = 0;
/** Draw when nothing has changed for a moment: hundreds of entries take longer than a keystroke. */
const drawSoon = (plots) => {
  clearTimeout(waiting);
  waiting = setTimeout(plots.draw, 120);
};

const update = (changed) => {
  buildNavigation();
  if (changed.has('track')) {
    clearTimeout(waiting);
    shownTrack = buildTrack(currentIndex());
    document.getElementById('main').focus({ preventScroll: true });
    window.scrollTo(0, 0);
    return;
  }
  const filtered = anyOf(changed, 'q', 'stage', 'model', 'selection', 'budget');
  if (filtered || anyOf(changed, 'sort', 'all', 'entry')) shownTrack.standings.fill();
  if (shownTrack.plots && (filtered || anyOf(changed, 'measure', 'number', 'plot'))) drawSoon(shownTrack.plots);
  if (anyOf(changed, 'molecule', 'find')) shownTrack.molecules.fill();
  if (anyOf(changed, 'molecule', 'shown', 'order')) shownTrack.molecules.update();
  if (changed.has('entry') && state.entry) reveal(document.querySelector('tr.chosen'));
  if (changed.has('molecule') && state.molecule) revealMolecule();
};

/** Bring what was opened from elsewhere into view, unless it is there already. */
const reveal = (node) => {
  if (!node) return;
  const box = node.getBoundingClientRect();
  if (box.top < 0 || box.bottom > window.innerHeight) node.scrollIntoView({ block: 'start' });
};
const revealMolecule = () => {
  const title = document.getElementById('molecule-heading');
  if (!title) return;
  title.scrollIntoView({ block: 'start' });
  title.focus({ preventScroll: true });
};

const start = () => {
  setTheme(remembered() || (system.matches ? 'dark' : 'light'));
  system.addEventListener('change', () => remembered() || setTheme(system.matches ? 'dark' : 'light'));
  document.getElementById('theme').addEventListener('click', () => {
    const name = root.dataset.theme === 'dark' ? 'light' : 'dark';
    remember(name);
    setTheme(name);
  });
  // A plain anchor would put its own name where the view is kept.
  document.getElementById('skip').addEventListener('click', (event) => {
    event.preventDefault();
    document.getElementById('main').focus();
  });
  document
    .getElementById('foot')
    .append(
      make(
        'p',
        {},
        `Made by golfbench ${content.version} from the records of every molecule; drawn with plotly.js ${Plotly.version}.`,
      ),
    );
  watchLocation();
  buildNavigation();
  watchers.push(update);
  if (content.tracks.length) shownTrack = buildTrack(currentIndex());
  else document.getElementById('main').append(make('p', {}, 'There is nothing to show.'));
  if (state.molecule) revealMolecule();
  else if (state.entry) reveal(document.querySelector('tr.chosen'));
};
start();
