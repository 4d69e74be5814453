(mark => {
  const root = mark.closest('.dpnb');
  if (!root || root.dataset.dpnb) return;
  root.dataset.dpnb = 'on';
  const one = name => root.querySelector(name);
  root.addEventListener('keydown', event => {
    const go = one('.dpnb-go:not(:disabled)');
    const isField = event.target.matches('textarea, input:not([type=checkbox])');
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey || event.shiftKey) && isField && go) {
      event.preventDefault();
      event.stopPropagation();
      event.target.dispatchEvent(new Event('change', { bubbles: true }));
      setTimeout(() => go.click(), 60);
    }
  }, true);
  root.addEventListener('click', event => {
    const button = event.target.closest('button');
    if (button && button.matches('.dpnb-stop')) setTimeout(() => one('.dpnb-go') && one('.dpnb-go').focus(), 0);
    if (button && button.matches('.dpnb-copy')) {
      const code = one('.dpnb-code textarea');
      if (code && navigator.clipboard) navigator.clipboard.writeText(code.value);
    }
  });
  const name = () => root.querySelectorAll('.widget-hslider').forEach(slider => {
    const label = slider.querySelector('.widget-label');
    const given = label && label.textContent.trim();
    const box = slider.parentElement && slider.parentElement.querySelector('.widget-text .widget-label, .widget-label');
    const words = given || (box && box.textContent.trim());
    slider.querySelectorAll('.noUi-handle').forEach(handle => { if (words) handle.setAttribute('aria-label', words); });
  });
  const latestFirst = () => new Set([...root.querySelectorAll('[data-run]')].map(words => words.closest('.dpnb-rows'))).forEach(list => {
    const number = row => Number(row.querySelector('[data-run]').dataset.run);
    const rows = [...list.children].filter(row => row.querySelector('[data-run]'));
    rows.sort((one, other) => number(other) - number(one)).forEach((row, place) => {
      if (list.children[place] !== row) list.insertBefore(row, list.children[place]);
    });
  });
  const tidy = () => { name(); latestFirst(); };
  tidy();
  new MutationObserver(tidy).observe(root, { childList: true, subtree: true });
  const taker = () => one('.dpnb-dropped textarea');
  const isFile = event => taker() && [...event.dataTransfer.types].includes('Files');
  root.addEventListener('dragover', event => { if (isFile(event)) event.preventDefault(); });
  root.addEventListener('drop', event => {
    const [file] = event.dataTransfer.files;
    if (!isFile(event) || !file) return;
    event.preventDefault();
    event.stopPropagation();
    const reader = new FileReader();
    reader.onload = () => {
      const field = taker();
      field.value = file.name.split(String.fromCharCode(10)).join(' ') + String.fromCharCode(10) + reader.result;
      field.dispatchEvent(new Event('input', { bubbles: true }));
      field.dispatchEvent(new Event('change', { bubbles: true }));
    };
    reader.readAsDataURL(file);
  });
})(this)
