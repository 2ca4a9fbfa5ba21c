#include "plugins/image_bytes.h"

#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include <jpeglib.h>
#include <png.h>

#include "fedlb/random.h"

namespace fedlb {
namespace {

void AppendBytes(png_structp png, png_bytep bytes, size_t count) {
  static_cast<std::string*>(png_get_io_ptr(png))
      ->append(reinterpret_cast<const char*>(bytes), count);
}

}  // namespace

Picture PlainPicture(int64_t width, int64_t height,
                     const std::vector<uint8_t>& color) {
  Picture picture{.width = width,
                  .height = height,
                  .channels = static_cast<int>(color.size())};
  picture.pixels.resize(static_cast<size_t>(width * height) * color.size());
  for (size_t i = 0; i < picture.pixels.size(); ++i) {
    picture.pixels[i] = color[i % color.size()];
  }
  return picture;
}

Picture RampPicture(int64_t width, int64_t height, int channels) {
  Picture picture = PlainPicture(
      width, height, std::vector<uint8_t>(static_cast<size_t>(channels)));
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        const int64_t level =
            40 + 30 * c + 60 * x / width + (c + 1) * 30 * y / height;
        picture.At(y, x, c) = static_cast<uint8_t>(level);
      }
    }
  }
  return picture;
}

Picture NoisePicture(int64_t width, int64_t height, uint64_t seed) {
  Picture picture = PlainPicture(width, height, {0, 0, 0});
  RandomStream random({.seed = seed, .purpose = "test_noise"});
  for (uint8_t& value : picture.pixels) {
    value = static_cast<uint8_t>(random.Below(256));
  }
  return picture;
}

std::string JpegBytes(const Picture& picture, const JpegStyle& style) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = static_cast<JDIMENSION>(picture.width);
  info.image_height = static_cast<JDIMENSION>(picture.height);
  info.input_components = picture.channels;
  info.in_color_space = picture.channels == 1   ? JCS_GRAYSCALE
                        : picture.channels == 3 ? JCS_RGB
                                                : JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, style.quality, TRUE);
  if (picture.channels == 3 && style.full_chroma) {
    info.comp_info[0].h_samp_factor = 1;
    info.comp_info[0].v_samp_factor = 1;
  }
  if (style.progressive) {
    jpeg_simple_progression(&info);
  }
  jpeg_start_compress(&info, TRUE);
  const int64_t row_bytes = picture.width * picture.channels;
  while (info.next_scanline < info.image_height) {
    auto* row = const_cast<JSAMPROW>(picture.pixels.data() +
                                     row_bytes * info.next_scanline);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string result(reinterpret_cast<const char*>(bytes), size);
  std::free(bytes);
  return result;
}

std::string PngBytes(const Picture& picture, const PngStyle& style) {
  std::string result;
  png_structp png =
      png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(png, &result, AppendBytes, nullptr);
  constexpr int kTypes[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA,
                            PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA};
  const bool has_palette = !style.palette.empty();
  png_set_IHDR(
      png, info, static_cast<png_uint_32>(picture.width),
      static_cast<png_uint_32>(picture.height), style.deep ? 16 : 8,
      has_palette ? PNG_COLOR_TYPE_PALETTE : kTypes[picture.channels - 1],
      style.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
      PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  std::vector<png_color> colors;
  for (size_t i = 0; i + 2 < style.palette.size(); i += 3) {
    colors.push_back(
        {style.palette[i], style.palette[i + 1], style.palette[i + 2]});
  }
  if (has_palette) {
    png_set_PLTE(png, info, colors.data(), static_cast<int>(colors.size()));
  }
  png_write_info(png, info);
  std::vector<uint8_t> deep;
  const std::vector<uint8_t>* pixels = &picture.pixels;
  if (style.deep) {
    for (const uint8_t value : picture.pixels) {
      deep.insert(deep.end(), {value, value});
    }
    pixels = &deep;
  }
  std::vector<png_bytep> rows;
  const size_t row_bytes = pixels->size() / static_cast<size_t>(picture.height);
  for (int64_t y = 0; y < picture.height; ++y) {
    rows.push_back(const_cast<png_bytep>(pixels->data()) +
                   static_cast<size_t>(y) * row_bytes);
  }
  png_write_image(png, rows.data());
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return result;
}

}  // namespace fedlb
