import { defineConfig } from "vite";

export default defineConfig({
  base: "/graphiql/",
  build: {
    // Everything comes from files of our own, so that the content security policy can say so.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 4096,
    rolldownOptions: {
      onwarn(warning, warn) {
        // "use client" in libraries means nothing without a server.
        if (warning.code !== "MODULE_LEVEL_DIRECTIVE") warn(warning);
      },
    },
  },
});
