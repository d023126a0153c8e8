import type { Driver, Installed } from "../../driver.ts";
import { isInstalled } from "../../installed.ts";
import { onPackage } from "../../module-hook.ts";
import { ownWork } from "../../own-work.ts";
import { property } from "../../unknown.ts";
import { adopt, release, watch } from "./adopt.ts";
import { watchImports } from "./imports.ts";

/** The module of the SDK that has the class Protocol, of which clients and servers are made. */
const COMMONJS = "@modelcontextprotocol/sdk/dist/cjs/shared/protocol.js";
const PACKAGE = "@modelcontextprotocol/sdk";

/**
 * Tool calls over the Model Context Protocol, by `@modelcontextprotocol/sdk` 1.x. Clients and servers are both a Protocol:
 * every call leaves through its `request`, and every call arrives at a handler that its `setRequestHandler` was given.
 *
 * The package comes as CommonJS and as ES modules, one class each.
 */
export const mcpDriver: Driver = { name: "mcp", install };

function install(): Installed {
  watch();
  const unhook = onPackage(COMMONJS, (exports) => adopt(property(exports, "Protocol")));
  const unwatch = ownWork(() => isInstalled(PACKAGE)) ? watchImports() : undefined;
  return {
    covered: [PACKAGE],
    uninstall: () => {
      unhook();
      unwatch?.();
      release();
    },
  };
}
