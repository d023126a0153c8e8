import { spawn } from "node:child_process";
import type { Writable } from "node:stream";

// What a test leaves behind is cleared by a shell that outlives this process. An exit handler would not do: vitest ends
// its workers with a signal, and a test may be killed with -9. The shell reads, line by line, which process groups live
// and which directories are ours, and at the end of its input, which comes however this process ended, removes them.
const SCRIPT = `
trap '' HUP INT TERM
groups=' '
while IFS= read -r line; do
  case $line in
    +*) groups="$groups\${line#+} " ;;
    -*) gone=" \${line#-} "
        case $groups in *"$gone"*) groups="\${groups%%"$gone"*} \${groups#*"$gone"}" ;; esac ;;
    /*) set -- "$@" "$line" ;;
  esac
done
for group in $groups; do kill -9 "-$group"; done
if [ $# -gt 0 ]; then rm -rf -- "$@"; fi
`;

let input: Writable | undefined;

function tell(line: string): void {
  if (input === undefined) {
    const shell = spawn("/bin/sh", ["-c", SCRIPT], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
    shell.unref();
    // A pipe is a socket, which the type of stdin does not say; left referenced it would keep this process alive.
    if ("unref" in shell.stdin && typeof shell.stdin.unref === "function") shell.stdin.unref();
    input = shell.stdin;
  }
  input.write(`${line}\n`);
}

/** The process group is killed when this process ends. */
export function reapGroup(leader: number): void {
  tell(`+${leader}`);
}

/** The process group ended; its number may be given to others from now on. */
export function forgetGroup(leader: number): void {
  tell(`-${leader}`);
}

/** The directory, an absolute path, is removed when this process ends. */
export function reapDirectory(path: string): void {
  tell(path);
}
