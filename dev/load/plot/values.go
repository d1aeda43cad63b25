package plot

import "math"

// maxDots is how many dots a row has at the most; of more values every nth by
// rank is drawn. Quantiles are always of all.
const maxDots = 2000

// thin keeps maxDots of the sorted values at the most, the first and the last
// among them.
func thin(values []float64) []float64 {
	if len(values) <= maxDots {
		return values
	}
	kept := make([]float64, maxDots)
	for i := range kept {
		kept[i] = values[i*(len(values)-1)/(maxDots-1)]
	}
	return kept
}

// quantile is the nearest rank of sorted values.
func quantile(values []float64, q float64) float64 {
	return values[max(int(math.Ceil(q*float64(len(values))))-1, 0)]
}
