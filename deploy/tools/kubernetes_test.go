package tools

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	strict "sigs.k8s.io/yaml"
)

const chart, manifests = "../chart", "../kubernetes"

var update = flag.Bool("update", false, "write the plain manifests anew, as the chart renders them")

// objects decodes manifests as the API server would with strict validation: an
// unknown or doubled field is a mistake, and so is a kind that is not expected.
func objects(t testing.TB, text string) map[string]any {
	t.Helper()
	found := map[string]any{}
	for documents := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text))); ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		var head struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := strict.Unmarshal(document, &head); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if head.Kind == "" { // comments alone
			continue
		}
		var object any
		switch head.Kind {
		case "Namespace":
			object = new(core.Namespace)
		case "ConfigMap":
			object = new(core.ConfigMap)
		case "Service":
			object = new(core.Service)
		case "StatefulSet":
			object = new(apps.StatefulSet)
		case "DaemonSet":
			object = new(apps.DaemonSet)
		case "NetworkPolicy":
			object = new(networking.NetworkPolicy)
		case "PodMonitor":
			object = new(monitoring.PodMonitor)
		default:
			t.Fatalf("nobody expects a %s:\n%s", head.Kind, document)
		}
		if err := strict.UnmarshalStrict(document, object); err != nil {
			t.Fatalf("%s %s: %v in:\n%s", head.Kind, head.Metadata.Name, err, document)
		}
		found[head.Kind+" "+head.Metadata.Name] = object
	}
}

// render is `helm template netmon deploy/chart -n netmon` with values.
func render(t testing.TB, values string) string {
	t.Helper()
	c, err := loader.LoadDir(chart)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := strict.Unmarshal([]byte(values), &v); err != nil {
		t.Fatal(err)
	}
	all, err := util.ToRenderValues(c, v, common.ReleaseOptions{Name: "netmon", Namespace: "netmon", IsInstall: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(c, all)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, name := range []string{"server.yaml", "sensor.yaml", "podmonitor.yaml"} {
		if text := strings.TrimSpace(files["netmon/templates/"+name]); text != "" {
			fmt.Fprintf(&out, "---\n%s\n", strings.TrimPrefix(text, "---\n"))
		}
	}
	return out.String()
}

// TestChart lints the chart, and renders it by every switch that it has.
func TestChart(t *testing.T) {
	for name, values := range map[string]string{
		"as it is":        "{}",
		"memory":          "server: {storage: {type: memory}}",
		"redis":           "server: {storage: {type: redis, redis: {host: r, passwordSecret: {name: s}}}}",
		"class of a disk": "server: {storage: {type: disk, className: fast}}",
		"own files":       "{sensor: {config: 'sensor {}'}, server: {config: 'server {}'}}",
		"variables":       "{sensor: {env: {NETWORK_INTERFACE: eth0, BUFFER_SIZE: 4096}}, server: {env: {LOG_LEVEL: debug}}}",
		"pod monitor":     "podMonitor: {enabled: true, labels: {release: prometheus}}",
		"no policy":       "networkPolicy: {enabled: false}",
		"placement":       "{imagePullSecrets: [{name: s}], sensor: {nodeSelector: {a: b}, priorityClassName: system-node-critical, tolerations: []}, server: {nodeSelector: {a: b}, tolerations: [{operator: Exists}]}}",
	} {
		t.Run(name, func(t *testing.T) {
			var v map[string]any
			if err := strict.Unmarshal([]byte(values), &v); err != nil {
				t.Fatal(err)
			}
			result := lint.RunAll(chart, v, "netmon")
			for _, m := range result.Messages {
				if m.Severity >= 2 { // 1 wishes for an icon
					t.Errorf("lint: %v", m)
				}
			}
			found := objects(t, render(t, values))
			check(t, found)
			_, policy := found["NetworkPolicy netmon-server"]
			_, monitor := found["PodMonitor netmon-sensor"]
			if policy == (name == "no policy") || monitor != (name == "pod monitor") {
				t.Errorf("there are %d objects", len(found))
			}
		})
	}
}

// check holds what the manifests promise of rights.
func check(t testing.TB, found map[string]any) {
	t.Helper()
	server, sensor := found["StatefulSet netmon-server"].(*apps.StatefulSet), found["DaemonSet netmon-sensor"].(*apps.DaemonSet)
	for name, pod := range map[string]core.PodSpec{"server": server.Spec.Template.Spec, "sensor": sensor.Spec.Template.Spec} {
		c := pod.Containers[0]
		s := c.SecurityContext
		if len(pod.Containers) != 1 || s.Privileged != nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem ||
			!slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) || *pod.AutomountServiceAccountToken || pod.HostPID || pod.HostIPC || pod.ServiceAccountName != "" {
			t.Errorf("the %s has rights that it does not use: %+v", name, s)
		}
		if c.ReadinessProbe == nil || c.LivenessProbe == nil {
			t.Errorf("the %s is not probed", name)
		}
		for _, v := range pod.Volumes {
			if v.HostPath != nil {
				t.Errorf("the %s has the host's %s", name, v.HostPath.Path)
			}
		}
	}
	pod := sensor.Spec.Template.Spec
	if !pod.HostNetwork || !slices.Equal(pod.Containers[0].SecurityContext.Capabilities.Add, []core.Capability{"NET_RAW"}) {
		t.Error("the sensor has the node's network and NET_RAW")
	}
	if !slices.ContainsFunc(pod.Containers[0].Env, func(e core.EnvVar) bool {
		return e.Name == "NODE_NAME" && e.ValueFrom.FieldRef.FieldPath == "spec.nodeName"
	}) {
		t.Error("the sensor is not called as its node")
	}
	if pod := server.Spec.Template.Spec; pod.HostNetwork || !*pod.SecurityContext.RunAsNonRoot || pod.Containers[0].SecurityContext.Capabilities.Add != nil {
		t.Error("the server is nobody's root")
	}
	policy, _ := found["NetworkPolicy netmon-server"].(*networking.NetworkPolicy)
	if policy != nil && len(policy.Spec.PolicyTypes) != 2 {
		t.Error("the policy is not about both directions")
	}
}

// TestPlainManifests wants them to be what the chart renders, and kustomize to take
// them, with and without the component.
func TestPlainManifests(t *testing.T) {
	want := "# Rendered from deploy/chart: go -C deploy/tools test -run Plain . -update\n" + render(t, "{}")
	path := filepath.Join(manifests, "netmon.yaml")
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != want {
		t.Errorf("%s is not what the chart renders, %v", path, err)
	}
	plain := objects(t, build(t, false))
	check(t, plain)
	if _, ok := plain["Namespace netmon"]; !ok || len(plain) != 5 {
		t.Errorf("there are %d objects", len(plain))
	}

	with := objects(t, build(t, true))
	check(t, with)
	rendered := objects(t, render(t, "podMonitor: {enabled: true}"))
	delete(with, "Namespace netmon")
	for name, object := range rendered {
		ours, err := strict.Marshal(with[name])
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := strict.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if name != "DaemonSet netmon-sensor" && !bytes.Equal(ours, theirs) { // there the order of variables differs
			t.Errorf("%s with the component is\n%s\nand by the chart\n%s", name, ours, theirs)
		}
	}
	env := map[string]string{}
	for _, e := range with["DaemonSet netmon-sensor"].(*apps.DaemonSet).Spec.Template.Spec.Containers[0].Env {
		env[e.Name] = e.Value
	}
	if env["STATUS_LISTEN"] != "$(HOST_IP):9854" || env["SERVER_URL"] == "" || len(with) != len(rendered) {
		t.Errorf("with the component the sensor has %v", env)
	}
}

// build is `kubectl kustomize`, with the component that the file has as a comment.
func build(t testing.TB, component bool) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(manifests)); err != nil {
		t.Fatal(err)
	}
	if component {
		path := filepath.Join(dir, "kustomization.yaml")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Replace(text, []byte("# components:"), []byte("components:"), 1), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := all.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
