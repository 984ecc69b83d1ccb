"""The test card's picture: bars, name, counters, a sweeping hand, and a square that flashes with the beep."""

import math

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, RATE = 640, 360, 25
FRAMES = 320
BEEP_FRAMES = 2

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf"
BARS = [(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191)]
INK, PAPER, SIGNAL = (240, 240, 240), (16, 18, 26), (255, 176, 0)
REVOLUTIONS = 4  # a whole number, so that the hand crosses the seam without a jump


def background():
    """Everything that stands still."""
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    for n, colour in enumerate(BARS):
        draw.rectangle([n * WIDTH // 7, 0, (n + 1) * WIDTH // 7 - 1, 199], fill=colour)
    for n in range(16):
        draw.rectangle([n * 40, 200, n * 40 + 39, 223], fill=(n * 17,) * 3)
    draw.text((24, 238), "MASTHEAD", font=ImageFont.truetype(FONT, 44), fill=INK)
    draw.text((26, 296), "test card  640x360  25 Hz", font=ImageFont.truetype(FONT, 16), fill=SIGNAL)
    draw.ellipse([232, 12, 408, 188], fill=PAPER, outline=INK, width=3)
    for n in range(16):
        angle = math.tau * n / 16
        x, y = math.sin(angle), -math.cos(angle)
        draw.line([320 + 74 * x, 100 + 74 * y, 320 + 84 * x, 100 + 84 * y], fill=INK, width=3)
    return image


def frame(still, fonts, number):
    """Frame `number` as RGB bytes."""
    image = still.copy()
    draw = ImageDraw.Draw(image)
    angle = math.tau * number * REVOLUTIONS / FRAMES
    tip = (320 + 70 * math.sin(angle), 100 - 70 * math.cos(angle))
    draw.line([(320, 100), tip], fill=SIGNAL, width=6)
    draw.ellipse([312, 92, 328, 108], fill=INK)
    seconds, rest = divmod(number, RATE)
    draw.text((350, 244), f"{seconds:02}:{rest:02}", font=fonts[0], fill=INK)
    draw.text((352, 296), f"frame {number:03} of {FRAMES}", font=fonts[1], fill=SIGNAL)
    if rest < BEEP_FRAMES:
        draw.rectangle([552, 244, 608, 288], fill=INK)
    # A block that crosses the picture once per clip: motion in every frame, and a ruler for lost ones.
    x = number * WIDTH // FRAMES
    draw.rectangle([x, 336, x + 11, 351], fill=SIGNAL)
    return image.tobytes()


def frames():
    """All frames in order."""
    still = background()
    fonts = ImageFont.truetype(FONT, 40), ImageFont.truetype(FONT, 16)
    for number in range(FRAMES):
        yield frame(still, fonts, number)
