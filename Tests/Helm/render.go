// Renders a chart as `helm template` does, for tests: Helm's language is Go's text/template with the functions of sprig and a few
// more. A chart without dependencies, hooks or lookups is all that is understood.
//
//	render [-name N] [-namespace N] [-kube VERSION] [-api GROUP/VERSION,…] [-upgrade] [-values FILE]… CHART
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/semver"
	"github.com/Masterminds/sprig"
	"sigs.k8s.io/yaml"
)

type object = map[string]interface{}

// metadata is Chart.yaml, under the names that templates know.
type metadata struct {
	Name, Version, AppVersion, Description, Type, KubeVersion string
}

// versions answers .Capabilities.APIVersions.Has.
type versions []string

func (known versions) Has(name string) bool {
	for _, one := range known {
		if one == name {
			return true
		}
	}
	return false
}

// files answers .Files.Get; what is not there is empty, as in Helm.
type files struct{ folder string }

func (all files) Get(name string) string {
	text, _ := os.ReadFile(filepath.Join(all.folder, name))
	return string(text)
}

type list []string

func (all *list) String() string       { return strings.Join(*all, ",") }
func (all *list) Set(one string) error { *all = append(*all, one); return nil }

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

func read(name string, into interface{}) {
	text, err := os.ReadFile(name)
	check(err)
	check(yaml.Unmarshal(text, into))
}

// merge lays `over` on `under`: mappings key by key, anything else as a whole; null takes a key away.
func merge(under, over object) object {
	for key, value := range over {
		inner, isObject := value.(object)
		below, wasObject := under[key].(object)
		switch {
		case value == nil:
			delete(under, key)
		case isObject && wasObject:
			under[key] = merge(below, inner)
		case isObject:
			under[key] = merge(object{}, inner)
		default:
			under[key] = value
		}
	}
	return under
}

// functions are sprig's without those that look at the machine, and Helm's own.
func functions(root *template.Template) template.FuncMap {
	all := sprig.TxtFuncMap()
	delete(all, "env")
	delete(all, "expandenv")
	all["toYaml"] = func(value interface{}) string {
		text, _ := yaml.Marshal(value)
		return strings.TrimSuffix(string(text), "\n")
	}
	all["fromYaml"] = func(text string) object {
		value := object{}
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			value["Error"] = err.Error()
		}
		return value
	}
	all["toJson"] = func(value interface{}) string {
		text, _ := json.Marshal(value)
		return string(text)
	}
	all["lookup"] = func(_, _, _, _ string) object { return object{} }
	all["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, errors.New(message)
		}
		return value, nil
	}
	all["include"] = func(name string, data interface{}) (string, error) {
		var out strings.Builder
		err := root.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	all["tpl"] = func(text string, data interface{}) (string, error) {
		inner, err := root.Clone()
		if err == nil {
			inner, err = inner.New("tpl").Parse(text)
		}
		var out strings.Builder
		if err == nil {
			err = inner.Execute(&out, data)
		}
		return strings.ReplaceAll(out.String(), "<no value>", ""), err
	}
	return all
}

func main() {
	name := flag.String("name", "release", "of the release")
	namespace := flag.String("namespace", "default", "of the release")
	kube := flag.String("kube", "v1.29.0", "version of the cluster")
	apis := flag.String("api", "", "what else the cluster knows, with commas between")
	upgrade := flag.Bool("upgrade", false, "not an installation")
	var overrides list
	flag.Var(&overrides, "values", "a file of values; the last one wins")
	flag.Parse()
	folder := flag.Arg(0)

	var chart metadata
	read(filepath.Join(folder, "Chart.yaml"), &chart)
	cluster, err := semver.NewVersion(*kube)
	check(err)
	if chart.KubeVersion != "" {
		wanted, err := semver.NewConstraint(chart.KubeVersion)
		check(err)
		if !wanted.Check(cluster) {
			check(fmt.Errorf("the chart needs Kubernetes %s, which %s is not", chart.KubeVersion, *kube))
		}
	}
	values := object{}
	read(filepath.Join(folder, "values.yaml"), &values)
	for _, file := range overrides {
		over := object{}
		read(file, &over)
		values = merge(values, over)
	}

	paths, err := filepath.Glob(filepath.Join(folder, "templates", "*"))
	check(err)
	sort.Strings(paths)
	root := template.New("root").Option("missingkey=zero")
	root.Funcs(functions(root))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		check(err)
		_, err = root.New(chart.Name + "/templates/" + filepath.Base(path)).Parse(string(text))
		check(err)
	}
	data := object{
		"Values": values, "Chart": chart, "Files": files{folder},
		"Release": object{
			"Name": *name, "Namespace": *namespace, "Service": "Helm", "Revision": 1, "IsInstall": !*upgrade,
			"IsUpgrade": *upgrade,
		},
		"Capabilities": object{
			"APIVersions": versions(strings.Split(*apis, ",")),
			"KubeVersion": object{
				"Version": *kube, "GitVersion": *kube, "Major": fmt.Sprint(cluster.Major()),
				"Minor": fmt.Sprint(cluster.Minor()),
			},
		},
	}
	for _, path := range paths {
		base := filepath.Base(path)
		if strings.HasPrefix(base, "_") {
			continue
		}
		source := chart.Name + "/templates/" + base
		data["Template"] = object{"Name": source, "BasePath": chart.Name + "/templates"}
		var out strings.Builder
		check(root.ExecuteTemplate(&out, source, data))
		text := strings.TrimSpace(strings.ReplaceAll(out.String(), "<no value>", ""))
		if text != "" {
			fmt.Printf("---\n# Source: %s\n%s\n", source, text)
		}
	}
}
