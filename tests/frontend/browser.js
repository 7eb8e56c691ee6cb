// For the scripts' tests, which node runs: the packages of the web app's build, and as much of a browser as they ask for.
import { registerHooks } from "node:module";

const BUILT = new URL("../../frontend_reflex/.web/package.json", import.meta.url).href;

registerHooks({
  resolve(specifier, context, next) {
    const ours = context.parentURL?.includes("/frontend_reflex/assets/js/");
    return next(specifier, ours && !specifier.startsWith(".") ? { ...context, parentURL: BUILT } : context);
  },
});

globalThis.window = Object.assign(new EventTarget(), { location: { origin: "http://byline.test:8000" } });
