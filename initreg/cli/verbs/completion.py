"""The verb ``completion``."""

from __future__ import annotations

import argparse
import sys

from initreg.cli.printing import show_json, write

SUMMARY = "Print the script that completes verbs, options and names."
EXAMPLES = (
    ("initreg completion bash", "a script; its first lines say where it goes"),
    ("initreg completion zsh", "the same for zsh"),
    ("initreg completion fish", "and for fish"),
)

_BASH = r"""# Completion of initreg for bash. For this shell: eval "$(initreg completion bash)"
# For each one: put that line into ~/.bashrc.
_initreg() {
    local current=${COMP_WORDS[COMP_CWORD]} text what files=
    COMPREPLY=()
    while IFS=$'\t' read -r text what; do
        if [[ $text == :files ]]; then
            files=1
        elif [[ $current == [\'\"]* ]]; then
            COMPREPLY+=("$text")
        else
            COMPREPLY+=("$(printf %q "$text")")
        fi
    done < <("${COMP_WORDS[0]/#\~/$HOME}" __complete bash \
        "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ -n $files && ${#COMPREPLY[@]} == 0 ]]; then
        compopt -o default 2>/dev/null || COMPREPLY=($(compgen -f -- "$current"))
    elif [[ ${COMPREPLY[0]} == *[/.] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _initreg initreg"""

_ZSH = r"""#compdef initreg
# Completion of initreg for zsh. For this shell: source <(initreg completion zsh)
# For each one: put that line into ~/.zshrc, after compinit.
_initreg() {
    local line text
    local -a whole parts
    local answer=$("${(Q)words[1]}" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)
    for line in "${(@f)answer}"; do
        text=${line%%$'\t'*}
        if [[ $text == :files ]]; then
            _files
        elif [[ -n $text ]]; then
            line=${text//:/\\:}${${line#$text}/$'\t'/:}
            if [[ $text == *[/.] ]]; then parts+=("$line"); else whole+=("$line"); fi
        fi
    done
    (( $#parts )) && _describe -V initreg parts -S ''
    (( $#whole )) && _describe -V initreg whole
}
if [[ $funcstack[1] == _initreg ]]; then _initreg "$@"; else compdef _initreg initreg; fi"""

_FISH = r"""# Completion of initreg for fish. For this shell: initreg completion fish | source
# For each one: initreg completion fish > ~/.config/fish/completions/initreg.fish
function __initreg_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] __complete fish $words[2..-1] 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path (commandline -ct)
        else
            printf '%s\n' $line
        end
    end
end
complete -c initreg -f -k -a '(__initreg_complete)'"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=tuple(_SCRIPTS), help="bash, zsh or fish")


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0."""
    script = _SCRIPTS[options.shell]
    if options.json:
        show_json({"shell": options.shell, "script": script})
        return 0
    write(script)
    if sys.stdout is not None and sys.stdout.isatty():
        how = next(line for line in script.splitlines() if "For this shell" in line)
        print(f"initreg: {how.partition('. ')[2]}", file=sys.stderr)
    return 0
