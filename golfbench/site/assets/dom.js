// Elements are made here and nowhere else, from text: nothing from an entry can become markup or script.

const ATTRIBUTE_URL = /^(href|src|action|formaction|data|style)$/i;

/** Make an element; functions among the properties are listeners, false and null leave an attribute out. */
const make = (tag, properties = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === 'function') element.addEventListener(name, value);
    else if (ATTRIBUTE_URL.test(name)) throw new Error(`${name} is set by link() only`);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? '' : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
};

/** A link to a file beside this page, to a view of this page, or to a DOI or arXiv number. */
const link = (address, text, properties = {}) => {
  const anchor = make('a', properties, text);
  anchor.href = address;
  return anchor;
};
const fileLink = (parts, text) => link(parts.map(encodeURIComponent).join('/'), text);

/** What a citation says, as a link where it is a DOI or an arXiv number and nothing else. */
const citation = (text) => {
  const doi = /^10\.\d{4,9}\/[A-Za-z0-9._;()/:-]+$/.test(text);
  const arxiv = /^arXiv:(\d{4}\.\d{4,5}(v\d+)?)$/.exec(text);
  const away = { rel: 'noopener noreferrer' };
  if (doi) return link(`https://doi.org/${text}`, text, away);
  if (arxiv) return link(`https://arxiv.org/abs/${arxiv[1]}`, text, away);
  return text;
};

const facts = (pairs) =>
  make(
    'dl',
    { class: 'facts' },
    pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== '')
      .map(([name, value]) => [make('dt', {}, name), make('dd', {}, value)]),
  );

const heading = (level, text, properties = {}) => make(`h${level}`, properties, text);

const MISSING = '–';
const fixed = (number, decimals) => {
  if (number === null || number === undefined) return MISSING;
  const text = number.toFixed(decimals);
  return Number(text) === 0 ? text.replace('-', '') : text;
};
const short = (number) => fixed(number, 1).replace(/\.0$/, '');
const plural = (count, word, many = `${word}s`) => `${count} ${count === 1 ? word : many}`;
const titled = (measure) => (measure.unit ? `${measure.title}, ${measure.unit}` : measure.title);

let made = 0;
const freshId = (stem) => `${stem}-${(made += 1)}`;

/** A labelled choice. */
const choice = (label, options, value, change) => {
  const select = make(
    'select',
    { change: () => change(select.value) },
    options.map(([name, text]) => make('option', { value: name, selected: name === value }, text)),
  );
  return make('label', {}, label, select);
};
const checkbox = (label, checked, change, extra = null) => {
  const box = make('input', { type: 'checkbox', checked, change: () => change(box.checked) });
  return make('label', { class: 'check' }, box, extra, label);
};
