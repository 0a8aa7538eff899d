package push

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/plugins/plugintest"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// TestContract is what every exporter must keep to; the server here takes everything.
func TestContract(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the suite ended the call
		}
		var request netmonpb.PushRequest
		if err := proto.Unmarshal(body, &request); err != nil {
			t.Error(err)
		}
		held := &netmonpb.PushResponse{LogId: request.GetWindow().GetLogId(), Watermark: request.GetWindow().GetSequence(), Applied: true}
		if s := request.GetSnapshot(); s != nil {
			held.LogId, held.Watermark = s.LogId, s.Sequence
		}
		text, err := protojson.Marshal(held)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(text)
	}))
	defer server.Close()
	config, err := json.Marshal(map[string]string{"url": server.URL, "compression": "none"})
	if err != nil {
		t.Fatal(err)
	}
	plugintest.Suite{
		New:    func() plugins.Exporter { return New("test") },
		Config: string(config),
		Bad: map[string]string{
			"credentials in the URL": `{"url": "http://u:p@localhost/"}`,
			"half a certificate":     `{"url": "https://localhost/", "tls": {"cert_file": "c.pem"}}`,
		},
	}.Run(t)
}
