// Sends a photo to a model over gRPC (Open Inference Protocol), and prints label, score and box of all that it finds.
//
//	predict HOST:PORT MODEL PHOTO
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"time"

	"google.golang.org/grpc"

	"jetserve/oip"
)

// The photo as its file is: one element of type BYTES, which is its length (4 bytes, little-endian) and itself.
func requestFromPhoto(model string, photo []byte) *inference.ModelInferRequest {
	element := make([]byte, 4, 4+len(photo))
	binary.LittleEndian.PutUint32(element, uint32(len(photo)))
	return &inference.ModelInferRequest{
		ModelName:        model,
		Inputs:           []*inference.ModelInferRequest_InferInputTensor{{Name: "image", Datatype: "BYTES", Shape: []int64{1}}},
		RawInputContents: [][]byte{append(element, photo...)},
		Parameters: map[string]*inference.InferParameter{
			"score_threshold": {ParameterChoice: &inference.InferParameter_DoubleParam{DoubleParam: 0.4}},
		},
	}
}

// The bytes of an output; empty where the model has none of that name.
func output(response *inference.ModelInferResponse, name string) []byte {
	for i, tensor := range response.Outputs {
		if tensor.Name == name {
			return response.RawOutputContents[i]
		}
	}
	return nil
}

func floats(raw []byte) []float32 {
	found := make([]float32, len(raw)/4)
	for i := range found {
		found[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return found
}

func texts(raw []byte) []string {
	var found []string
	for reader := bytes.NewBuffer(raw); reader.Len() >= 4; {
		length := int(binary.LittleEndian.Uint32(reader.Next(4)))
		found = append(found, string(reader.Next(length)))
	}
	return found
}

// A line for each finding; a classifier has no boxes.
func show(response *inference.ModelInferResponse) {
	count := binary.LittleEndian.Uint64(output(response, "counts"))
	scores, labels := floats(output(response, "scores")), texts(output(response, "labels"))
	boxes := floats(output(response, "boxes")) // x1, y1, x2, y2 in pixels of the photo
	for i := uint64(0); i < count; i++ {
		fmt.Printf("%s %.5f", labels[i], scores[i])
		if len(boxes) > 0 {
			for _, value := range boxes[4*i : 4*i+4] {
				fmt.Printf(" %.2f", value)
			}
		}
		fmt.Println()
	}
}

func predict(address, model, path string) error {
	photo, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	connection, err := grpc.Dial(address, grpc.WithInsecure())
	if err != nil {
		return err
	}
	defer connection.Close()
	deadline, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := inference.NewGRPCInferenceServiceClient(connection)
	response, err := client.ModelInfer(deadline, requestFromPhoto(model, photo))
	if err != nil {
		return err
	}
	show(response)
	return nil
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: predict HOST:PORT MODEL PHOTO")
		os.Exit(2)
	}
	if err := predict(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
