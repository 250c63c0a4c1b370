# Completion of `sluice` for bash: source it, or put it into /usr/share/bash-completion/completions as `sluice`.

# Names of what can be spoken: requests, dialects or responses.
_sluice_names() {
    local names
    names=$("${COMP_WORDS[0]}" formats --json 2>/dev/null) || return
    names=${names#*\""$1"\":[}
    grep -o '"name":"[^"]*"' <<<"${names%%]*}" | cut -d '"' -f 4
}

_sluice() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]:-} choices='' request=no
    COMPREPLY=()
    # Bash takes `--name=value` apart.
    if [ "$word" = = ]; then word=''; elif [ "$before" = = ]; then before=${COMP_WORDS[COMP_CWORD - 2]}; fi
    case " ${COMP_WORDS[*]} " in *' --request '*) request=yes ;; esac
    if [ "$COMP_CWORD" -eq 1 ]; then
        choices='run healthcheck validate schema formats convert replay doctor key version help'
    else
        case "$command $before" in
        'run -c' | 'run --config' | 'healthcheck -c' | 'healthcheck --config' | 'doctor --ca') choices=@files ;;
        *' --listen') choices='127.0.0.1:8080 0.0.0.0:8080' ;;
        'convert --from') if [ "$request" = yes ]; then choices=$(_sluice_names requests); else choices=$(_sluice_names dialects); fi ;;
        'convert --to') if [ "$request" = yes ]; then choices=$(_sluice_names dialects); else choices=$(_sluice_names responses); fi ;;
        'replay --dialect') choices=$(_sluice_names dialects) ;;
        'doctor --method') choices='GET POST' ;;
        *' --model' | *' --chunk' | *' --interval' | *' --speed' | *' --name' | *' --timeout' | *' --idle' | *' --duration') return ;;
        *' --header' | *' --data' | *' --probe-key') return ;;
        'run '*) choices='-c --config --watch --listen' ;;
        'healthcheck '*) choices='-c --config --listen --ready --timeout' ;;
        'doctor '*)
            choices='--idle --duration --json --http1.1 --http2 --ca --insecure --timeout --method --header --data --probe-key --no-probe'
            ;;
        'validate '*) choices=@files ;;
        'formats '*) choices=--json ;;
        'convert '*) choices='--from --to --request --document --drop-unsupported --model --chunk' ;;
        'replay '*)
            choices='--listen --interval --speed --dialect'
            case "$word" in -*) ;; *) choices=@files ;; esac
            ;;
        'key key') choices='new hash' ;;
        'key '*) choices=--name ;;
        esac
    fi
    if [ "$choices" = @files ]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
    fi
}

complete -F _sluice sluice
