package audience

import "time"

// ModelKind says how a model scores.
type ModelKind string

// The kinds of model there are.
const (
	ModelRFM    ModelKind = "rfm"
	ModelKMeans ModelKind = "kmeans"
)

// Model is a trained scorer. Its spec is the one of its kind; the other is nil.
type Model struct {
	Meta     `json:"-"`
	ID       ModelID // expressions reach the RFM model named "rfm" as rfm.r, and clusters as cluster("id")
	Title    string
	Kind     ModelKind
	RFM      *RFMSpec    `json:",omitempty"`
	KMeans   *KMeansSpec `json:",omitempty"`
	Version  uint32      // the complete version that reads see; 0 before the first training
	Schedule Schedule    // when it is trained by itself; OnChange is zero
}

// RFMSpec says which events an RFM model reads and how it scores them (segmenter/rfm has the meaning of each word). The
// zero value of a field is its default.
type RFMSpec struct {
	PurchaseTypes []string         // event types whose values are bought for; default ["purchase"]
	RefundTypes   []string         // event types whose negative values are netted; default ["refund"]
	IgnoreRefunds bool             // monetary counts purchases only
	WindowDays    int              // days before as-of that count; 0: all history
	AsOf          time.Time        // end of the window, included; zero: the time of training
	TimeZone      string           // IANA name for calendar days; default "UTC"
	Recency       string           // "calendar" (default: midnights between) or "elapsed" (full 24 hours between)
	Frequency     string           // "orders" (default: distinct order_id, an event without one counts as its own), "days" or "events"
	Monetary      string           // "sum" (default) or "mean" (sum / frequency)
	Convention    string           // "quantile" (default), "ntile" or "rfm_package"
	Bins          int              // scores run from 1 to Bins; 2 to 100, default 5
	RecencyCuts   []float64        // Bins-1 rising fixed cut points instead of fitted ones: days
	FrequencyCuts []float64        // likewise
	MonetaryCuts  []float64        // likewise, units of the currency
	SegmentPreset string           // table of named segments: "default" or "rfm_package"
	Segments      []RFMSegmentRule // a table of one's own instead: the first rule that fits
}

// RFMSegmentRule names the users whose scores lie within the bounds, all inclusive. A zero pair is any score.
type RFMSegmentRule struct {
	Name      string
	Recency   [2]int
	Frequency [2]int
	Monetary  [2]int
}

// KMeansSpec says what a k-means model clusters.
type KMeansSpec struct {
	Source   ModelID  // the RFM model whose recency, frequency and monetary are the features
	Features []string // of "recency", "frequency", "monetary"; default all three; log1p, then standardised
	K        int      // number of clusters; 0: chosen by silhouette between MinK and MaxK
	MinK     int      // default 2
	MaxK     int      // default 10
	Seed     uint64   // same seed, same data: same answer
	Sample   int      // users to train on; default 100 000
	Restarts int      // 0: more for small samples, see segmenter/kmeans
}

// ModelVersion is what one training learned.
type ModelVersion struct {
	Model     Number
	Version   uint32
	TrainTime time.Time
	AsOf      time.Time
	Run       RunID
	Users     int64  // scored
	Fitted    string // JSON of the fitted parameters: cut points or centroids, owned by the segmenter
}

// Score is what one version of a model says of a user. RFM models fill the first group, k-means Label and Distance.
type Score struct {
	User           UserID
	R, F, M        uint8 // 1 to Bins; 0 without a score
	Segment        string
	RecencyDays    int32
	Frequency      uint32
	MonetaryMicros int64

	Label    uint16  // cluster, from 1; 0 without
	Distance float32 // to the centroid, in standardised units
}
