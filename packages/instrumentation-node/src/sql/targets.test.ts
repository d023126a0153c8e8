import { expect, test } from "vitest";

import { databaseId } from "./targets.ts";

test.each([
  [{ host: "DB.Internal.", port: 5432, database: "app" }, "postgresql://db.internal/app"],
  [{ host: "127.0.0.1", port: 6432, database: "app" }, "postgresql://127.0.0.1:6432/app"],
  [{ host: "::1", port: 5432, database: "app" }, "postgresql://[::1]/app"],
  [{ host: "/var/run/postgresql", port: 5432, database: "app" }, "postgresql://%2Fvar%2Frun%2Fpostgresql/app"],
  [{ host: "user:secret@db", port: 5432, database: "a/b?c" }, "postgresql://user%3Asecret%40db/a%2Fb%3Fc"],
  [{ host: "db", port: 5432, database: "\ud800" }, "postgresql://db/%EF%BF%BD"],
])("%j", (address, id) => {
  expect(databaseId(address)).toBe(id);
});
