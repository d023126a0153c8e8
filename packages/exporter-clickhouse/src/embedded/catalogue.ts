import { names } from "./names.ts";

/**
 * Which functions and tables of the engine a statement may name. Grants keep a reader out of other databases, files, URLs
 * and other servers behind table functions, but not out of what ordinary functions reach: `file('/etc/passwd')` needs no
 * grant in chDB, and no function does.
 */
export interface Catalogue {
  /** Lower case. Refused wherever they stand: `arrayMap(file, …)` and `APPLY file` call a function without parentheses. */
  readonly forbiddenFunctions: ReadonlySet<string>;
  /** Lower case. Refused where a parenthesis follows. */
  readonly forbiddenTableFunctions: ReadonlySet<string>;
}

/** A row of `system.functions`. */
interface FunctionRow {
  readonly name: string;
  /** Empty, or the function this name stands for. */
  readonly aliasTo: string;
  readonly categories: string;
  readonly isAggregate: boolean;
}

/** Pure functions of their arguments. A category that a later engine brings is closed until somebody has looked at it. */
const OPEN_CATEGORIES = names(`
  Arithmetic, Arrays, Bit, Bitmap, Comparison, Conditional, Dates and Times, Distance, Encoding,
  Encryption, Financial, Geo, Geo Polygon, Hash, IP Address, JSON, Logical, Map, Mathematical,
  Null, NumericIndexedVector, QBit, Random Number, Rounding, String, String Replacement,
  String Search, String Splitting, Time Series, Time Window, Tuple, Type Conversion, URL, UUID
`);

/** Harmless ones of the mixed categories `Other` and `Internal`. What is missing reads the machine, sleeps, or connects. */
const OPEN_FUNCTIONS = names(`
  bar, blockNumber, blockSerializedSize, blockSize, byteSize, caseWithExpression, connectionId,
  countDigits, currentDatabase, currentProfiles, currentQueryID, currentRoles, currentSchemas,
  currentUser, authenticatedUser, defaultProfiles, defaultRoles, defaultValueOfArgumentType,
  defaultValueOfTypeName, digits, displayName, dumpColumnStructure, enabledProfiles, enabledRoles,
  errorCodeToName, finalizeAggregation, flipCoordinates, formatQuery, formatQueryOrNull,
  formatQuerySingleLine, formatQuerySingleLineOrNull, formatReadableDecimalSize, formatReadableQuantity,
  formatReadableSize, formatReadableTimeDelta, getSetting, getSettingOrDefault, getSizeOfEnumType,
  getSubcolumn, getTypeSerializationStreams, globalVariable, highlightQuery, hostName, icebergBucket,
  icebergTruncate, identity, ignore, indexHint, initializeAggregation, initialQueryID,
  initialQueryStartTime, isConstant, isDecimalOverflow, lowCardinalityIndices, lowCardinalityKeys,
  MACNumToString, MACStringToNum, MACStringToOUI, materialize, minSampleSizeContinuous,
  minSampleSizeConversion, neighbor, normalizedQueryHash, normalizedQueryHashKeepNames, normalizeQuery,
  normalizeQueryKeepNames, parseReadableSize, parseReadableSizeOrNull, parseReadableSizeOrZero,
  parseTimeDelta, partitionId, queryID, revision, rowNumberInAllBlocks, rowNumberInBlock,
  runningAccumulate, runningConcurrency, runningDifference, runningDifferenceStartingWithFirstValue,
  shardCount, shardNum, throwIf, tokenizeQuery, toColumnTypeName, toTypeName, transform, uptime,
  variantElement, variantType, version, visibleWidth,
  colorOKLABToSRGB, colorOKLCHToSRGB, colorSRGBToOKLAB, colorSRGBToOKLCH
`);

const OPEN_TABLE_FUNCTIONS = names(`
  numbers, numbers_mt, zeros, zeros_mt, primes, generateseries, generate_series, values, view
`);

/** Tables of `system` that clients look at to learn what there is. */
export const OPEN_SYSTEM_TABLES: ReadonlySet<string> = names(`
  aggregate_function_combinators, build_options, columns, data_type_families, databases, formats,
  functions, keywords, numbers, numbers_mt, one, settings, table_engines, table_functions,
  tables, time_zones, zeros
`);

/** Sorts what the engine has into open and closed. */
export function buildCatalogue(functions: readonly FunctionRow[], tableFunctions: readonly string[]): Catalogue {
  const byName = new Map(functions.map((row) => [row.name, row]));
  const forbiddenFunctions = new Set<string>();
  const openFunctions = new Set<string>();
  for (const row of functions) {
    const meant = row.aliasTo === "" ? row : (byName.get(row.aliasTo) ?? row);
    (isOpen(meant) ? openFunctions : forbiddenFunctions).add(row.name.toLowerCase());
  }
  const forbiddenTableFunctions = new Set<string>();
  for (const name of tableFunctions) {
    const lower = name.toLowerCase();
    // `format` is both; the table function behind it needs a grant that nobody has.
    if (!OPEN_TABLE_FUNCTIONS.has(lower) && !openFunctions.has(lower)) forbiddenTableFunctions.add(lower);
  }
  return { forbiddenFunctions, forbiddenTableFunctions };
}

function isOpen(row: FunctionRow): boolean {
  if (row.isAggregate || OPEN_FUNCTIONS.has(row.name)) return true;
  return row.categories.split(",").every((category) => OPEN_CATEGORIES.has(category));
}
