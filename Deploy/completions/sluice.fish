# Completion of `sluice` for fish: put it into /usr/share/fish/vendor_completions.d.

# Names of what can be spoken: requests, dialects or responses.
function __sluice_names
    sluice formats --json 2>/dev/null | string match -r "\"$argv[1]\":\[[^]]*" | string match -ra '"name":"[^"]*"' | string replace -r '"name":"(.*)"' '$1'
end

function __sluice_from
    if __fish_contains_opt request
        __sluice_names requests
    else
        __sluice_names dialects
    end
end

function __sluice_to
    if __fish_contains_opt request
        __sluice_names dialects
    else
        __sluice_names responses
    end
end

complete -c sluice -f
complete -c sluice -n __fish_use_subcommand -a run -d 'serve'
complete -c sluice -n __fish_use_subcommand -a healthcheck -d 'exit code 0 if the server is well'
complete -c sluice -n __fish_use_subcommand -a validate -d 'check a configuration'
complete -c sluice -n __fish_use_subcommand -a schema -d 'print the JSON Schema of configurations'
complete -c sluice -n __fish_use_subcommand -a formats -d 'what can be spoken to clients and to upstreams'
complete -c sluice -n __fish_use_subcommand -a convert -d 'a stream, or the body of a request, in another format'
complete -c sluice -n __fish_use_subcommand -a replay -d 'serve recorded streams as a provider would'
complete -c sluice -n __fish_use_subcommand -a doctor -d 'what the way to a URL does to streams'
complete -c sluice -n __fish_use_subcommand -a key -d 'make API keys'
complete -c sluice -n __fish_use_subcommand -a version -d 'print the version'
complete -c sluice -n __fish_use_subcommand -a help -d 'print the usage'
complete -c sluice -n '__fish_seen_subcommand_from run healthcheck' -s c -l config -r -F -d 'configuration'
complete -c sluice -n '__fish_seen_subcommand_from run' -l watch -d 'reload when it has changed'
complete -c sluice -n '__fish_seen_subcommand_from run healthcheck replay' -l listen -x -a '127.0.0.1:8080 0.0.0.0:8080' -d 'address'
complete -c sluice -n '__fish_seen_subcommand_from validate replay' -F
complete -c sluice -n '__fish_seen_subcommand_from formats doctor' -l json -d 'for programs'
complete -c sluice -n '__fish_seen_subcommand_from convert' -l from -x -a '(__sluice_from)' -d 'format of the input'
complete -c sluice -n '__fish_seen_subcommand_from convert' -l to -x -a '(__sluice_to)' -d 'format of the output'
complete -c sluice -n '__fish_seen_subcommand_from convert' -l request -d 'the body of a request'
complete -c sluice -n '__fish_seen_subcommand_from convert' -l document -d 'one JSON document'
complete -c sluice -n '__fish_seen_subcommand_from convert' -l drop-unsupported -d 'leave out what the dialect has no words for'
complete -c sluice -n '__fish_seen_subcommand_from convert' -l model -x -d 'name of the model'
complete -c sluice -n '__fish_seen_subcommand_from convert' -l chunk -x -d 'bytes at a time'
complete -c sluice -n '__fish_seen_subcommand_from replay' -l interval -x -d 'between events'
complete -c sluice -n '__fish_seen_subcommand_from replay' -l speed -x -d 'factor'
complete -c sluice -n '__fish_seen_subcommand_from replay' -l dialect -x -a '(__sluice_names dialects)' -d 'of the recordings'
complete -c sluice -n '__fish_seen_subcommand_from healthcheck' -l ready -d 'whether it takes requests'
complete -c sluice -n '__fish_seen_subcommand_from healthcheck doctor' -l timeout -x -d 'for an answer'
complete -c sluice -n '__fish_seen_subcommand_from doctor' -l idle -x -d 'silence that a stream must survive'
complete -c sluice -n '__fish_seen_subcommand_from doctor' -l duration -x -d 'of a busy stream'
complete -c sluice -n '__fish_seen_subcommand_from doctor' -l http1.1 -d 'protocol'
complete -c sluice -n '__fish_seen_subcommand_from doctor' -l http2 -d 'protocol'
complete -c sluice -n '__fish_seen_subcommand_from doctor' -l ca -r -F -d 'CAs to trust'
complete -c sluice -n '__fish_seen_subcommand_from doctor' -l insecure -d 'trust any certificate'
complete -c sluice -n '__fish_seen_subcommand_from doctor' -l method -x -a 'GET POST' -d 'of the request'
complete -c sluice -n '__fish_seen_subcommand_from doctor' -l header -x -d 'of the request'
complete -c sluice -n '__fish_seen_subcommand_from doctor' -l data -r -F -d 'body, or @file'
complete -c sluice -n '__fish_seen_subcommand_from doctor' -l probe-key -x -d 'where one is asked for'
complete -c sluice -n '__fish_seen_subcommand_from doctor' -l no-probe -d 'only watch'
complete -c sluice -n '__fish_seen_subcommand_from key' -a 'new hash'
complete -c sluice -n '__fish_seen_subcommand_from key' -l name -x -d 'name of the key'
