/**
 * Keeps every request of the page on the page's own host.
 *
 * MediaPipe's web package posts figures about its use to Google, once a
 * minute and when a classifier is closed. The page's Content-Security-Policy
 * forbids that as well; refusing it here already leaves no errors in the
 * console, and MediaPipe stops asking after the first refusal. Import this
 * before MediaPipe.
 */

const send = globalThis.fetch;

globalThis.fetch = async (resource, options) => {
  const address = resource instanceof Request ? resource.url : resource;
  const { origin } = new URL(address, location.href);
  if (origin !== location.origin) {
    throw new TypeError(`requests to other hosts are refused: ${origin}`);
  }
  return send(resource, options);
};
