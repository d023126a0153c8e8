// The tests and the bench compare with picomatch; its types are not among the workspace's dependencies.
declare module "picomatch" {
  interface Options {
    readonly dot?: boolean;
  }
  function picomatch(pattern: string, options?: Options): (text: string) => boolean;
  namespace picomatch {
    function isMatch(text: string, pattern: string, options?: Options): boolean;
  }
  export default picomatch;
}
