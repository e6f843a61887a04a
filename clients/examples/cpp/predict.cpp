// Sends photos to a model over gRPC (Open Inference Protocol), and prints label, score and box of all that it finds.
//
//   predict HOST:PORT MODEL PHOTO...             one call for each photo
//   predict --stream HOST:PORT MODEL PHOTO...    one stream, each photo a frame, as a camera sends them
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "grpc_service.grpc.pb.h"

namespace {

using Stub = inference::GRPCInferenceService::Stub;
using Request = inference::ModelInferRequest;
using Response = inference::ModelInferResponse;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw tensors are little-endian; swap their bytes here");

// The photo as its file is: one element of type BYTES, which is its length (4 bytes, little-endian) and itself.
Request request_from_photo(const std::string& model, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + " cannot be read");
  const std::string photo((std::istreambuf_iterator<char>(file)), {});
  const auto length = static_cast<std::uint32_t>(photo.size());
  Request request;
  request.set_model_name(model);
  request.set_id(path);
  auto* input = request.add_inputs();
  input->set_name("image");
  input->set_datatype("BYTES");
  input->add_shape(1);
  request.add_raw_input_contents()->append(reinterpret_cast<const char*>(&length), sizeof length).append(photo);
  (*request.mutable_parameters())["score_threshold"].set_double_param(0.4);
  return request;
}

// The bytes of an output, or nullptr where the model has none of that name.
const std::string* output(const Response& response, const std::string& name) {
  for (int i = 0; i < response.outputs_size(); ++i)
    if (response.outputs(i).name() == name) return &response.raw_output_contents(i);
  return nullptr;
}

template <typename T>
std::vector<T> values(const std::string* raw) {
  if (!raw) return {};
  std::vector<T> found(raw->size() / sizeof(T));
  std::memcpy(found.data(), raw->data(), found.size() * sizeof(T));
  return found;
}

std::vector<std::string> texts(const std::string* raw) {
  std::vector<std::string> found;
  for (std::size_t at = 0; raw && at + 4 <= raw->size();) {
    std::uint32_t length;
    std::memcpy(&length, raw->data() + at, sizeof length);
    found.push_back(raw->substr(at + 4, length));
    at += 4 + length;
  }
  return found;
}

// A line for each finding; a classifier has no boxes.
void show(const Response& response) {
  std::printf("%s\n", response.id().c_str());
  const auto counts = values<std::int64_t>(output(response, "counts"));
  const auto scores = values<float>(output(response, "scores"));
  const auto labels = texts(output(response, "labels"));
  const auto boxes = values<float>(output(response, "boxes"));  // x1, y1, x2, y2 in pixels of the photo
  const auto count = counts.empty() ? 0 : static_cast<std::size_t>(counts[0]);
  for (std::size_t i = 0; i < count; ++i) {
    std::printf("%s %.5f", labels.at(i).c_str(), scores.at(i));
    for (std::size_t k = 4 * i; k < 4 * (i + 1) && !boxes.empty(); ++k) std::printf(" %.2f", boxes.at(k));
    std::printf("\n");
  }
}

void check(const grpc::Status& status) {
  if (!status.ok())
    throw std::runtime_error("gRPC status " + std::to_string(status.error_code()) + ": " + status.error_message());
}

void predict(Stub& stub, const std::string& model, const std::string& photo) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  Response response;
  check(stub.ModelInfer(&context, request_from_photo(model, photo), &response));
  show(response);
}

// The server would keep the latest frame alone, as a camera wants; of photos every one is to be answered.
void stream(Stub& stub, const std::string& model, const std::vector<std::string>& photos) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30 * photos.size()));
  const auto frames = stub.ModelStreamInfer(&context);
  std::vector<Request> requests;
  for (const auto& photo : photos) {
    requests.push_back(request_from_photo(model, photo));
    (*requests.back().mutable_parameters())["frames"].set_string_param("every");
  }
  std::thread writer([&] {
    for (const auto& request : requests)
      if (!frames->Write(request)) break;  // the stream has ended; Finish says why
    frames->WritesDone();
  });
  inference::ModelStreamInferResponse response;
  while (frames->Read(&response)) {
    if (response.error_message().empty())
      show(response.infer_response());
    else
      std::fprintf(stderr, "%s: %s\n", response.infer_response().id().c_str(), response.error_message().c_str());
  }
  writer.join();
  check(frames->Finish());
}

}  // namespace

int main(int count, char** values) {
  std::vector<std::string> arguments(values + 1, values + count);
  const bool streams = !arguments.empty() && arguments[0] == "--stream";
  if (streams) arguments.erase(arguments.begin());
  if (arguments.size() < 3) {
    std::fprintf(stderr, "usage: predict [--stream] HOST:PORT MODEL PHOTO...\n");
    return 2;
  }
  const std::vector<std::string> photos(arguments.begin() + 2, arguments.end());
  const auto channel = grpc::CreateChannel(arguments[0], grpc::InsecureChannelCredentials());
  const auto stub = inference::GRPCInferenceService::NewStub(channel);
  try {
    if (streams) stream(*stub, arguments[1], photos);
    else for (const auto& photo : photos) predict(*stub, arguments[1], photo);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
