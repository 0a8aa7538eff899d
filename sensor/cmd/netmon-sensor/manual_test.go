package main

import (
	"flag"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestManual has mandoc judge every page that the programs print, and looks for every
// flag and command in them.
func TestManual(t *testing.T) {
	needTools(t, "mandoc")
	text := map[string]string{}
	for page, args := range map[string][]string{
		"netmon-sensor(8)": {sensorProgram, "manual", "netmon-sensor"}, "netmon.hcl(5)": {sensorProgram, "manual", "netmon.hcl"},
		"netmon-exporter-server(8)": {serverProgram, "-man"}, "netmon-exporter-push(8)": {pushProgram, "-man"}, "netmon-exporter-stdout(8)": {thirdParty, "-man"},
	} {
		code, stdout, stderr := call(t, exec.Command(bin(t, args[0]), args[1:]...))
		if code != exitFine || stderr != "" {
			t.Fatalf("%s: exit code %d: %s", page, code, stderr)
		}
		text[page] = stdout
	}
	reference := regexp.MustCompile(`(?m)^\.Xr (\S+) (\d)`)
	for page, source := range text {
		path := writeFile(t, "page", source)
		lint, _ := exec.Command("mandoc", "-Tlint", path).CombinedOutput() // its exit code says what the text does
		for line := range strings.Lines(string(lint)) {
			if !strings.Contains(line, "STYLE: referenced manual not found") { // it knows those that are installed
				t.Errorf("%s: %s", page, line)
			}
		}
		for _, r := range reference.FindAllStringSubmatch(source, -1) {
			if name := r[1] + "(" + r[2] + ")"; text[name] == "" {
				t.Errorf("%s tells of %s, which there is not", page, name)
			}
		}
		shown, err := exec.Command("mandoc", "-Tascii", "-O", "width=500", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		text[page] = regexp.MustCompile(`.\x08`).ReplaceAllString(string(shown), "") // bold is overstruck
	}
	for _, v := range commands() {
		for _, form := range v.forms {
			if want := strings.ReplaceAll(v.title()+" "+form, "FILE...", "FILE ..."); !strings.Contains(text["netmon-sensor(8)"], want) {
				t.Errorf("netmon-sensor(8) does not tell of %s", want)
			}
		}
		flagsOf(&v).VisitAll(func(f *flag.Flag) {
			if !regexp.MustCompile(`(?m)^ +-` + regexp.QuoteMeta(f.Name) + `( |$)`).MatchString(text["netmon-sensor(8)"]) {
				t.Errorf("netmon-sensor(8) does not tell of -%s", f.Name)
			}
		})
	}
	for page, parts := range map[string][]string{
		"netmon.hcl(5)":             {`ring_memory = "64MiB"`, "id = hostname()", `exporter "TYPE" "NAME" { ... }`, "locals { ... }", "From 2MiB to 64GiB."},
		"netmon-exporter-server(8)": {"-check-config", `listen = ["127.0.0.1:8080"]`, `storage "TYPE" { ... }`, "netmon-exporter-server -config FILE"},
		"netmon-exporter-push(8)":   {"url = ", "netmon-exporter-push -man | -version"},
		"netmon-exporter-stdout(8)": {"netmon-exporter-stdout - "},
	} {
		for _, part := range parts {
			if !strings.Contains(text[page], part) {
				t.Errorf("%s does not tell of %s", page, part)
			}
		}
	}
	for _, args := range [][]string{{"manual"}, {"manual", "nothing"}} {
		var out, stderr strings.Builder
		if code := run(args, &out, &stderr); code != exitUsage || out.String() != "" {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
}
