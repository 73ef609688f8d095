/** Swagger UI over the description of this server, with the key that the page was given. */

import { api, BASE, key } from "./api.js";

const description = await api.description();
const ui = SwaggerUIBundle({
  spec: { ...description, servers: [{ url: BASE.href }] }, // also below a proxy's prefix: the key goes nowhere else
  dom_id: "#docs",
  deepLinking: true,
  validatorUrl: null, // it would send the description to another server
  onComplete() {
    if (key.get()) ui.preauthorizeApiKey("key", key.get());
  },
});
