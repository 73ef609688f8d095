/** Swagger UI over the description of this server, with the key that the page was given. */

import { key } from "./api.js";

const ui = SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href,
  dom_id: "#docs",
  deepLinking: true,
  validatorUrl: null, // it would send the description to another server
  onComplete() {
    if (key.get()) ui.preauthorizeApiKey("key", key.get());
  },
});
