"""The machines of the sample's hospitals: makers' spellings, models and what each writes into its headers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scanner:
    """One machine as its headers describe it.

    block       private creator and its group, as machines of this maker write them
    kernel      CT Convolution Kernel (0018,1210); empty for other modalities
    implicit    sends Implicit VR Little Endian instead of Explicit
    """

    modality: str
    manufacturer: str
    model: str
    software: str
    station: str
    serial: str
    block: tuple[int, str]
    kernel: str = ""
    tesla: float = 0.0
    implicit: bool = False


GE = (0x0009, "GEMS_IDEN_01")
SIEMENS = (0x0051, "SIEMENS MR HEADER")
SIEMENS_CT = (0x0021, "SIEMENS MED")
PHILIPS = (0x2001, "Philips Imaging DD 001")
TOSHIBA = (0x7005, "TOSHIBA_MEC_CT3")
CANON_MR = (0x700D, "TOSHIBA_MEC_MR3")
HOLOGIC = (0x0019, "HOLOGIC, Inc.")


def ge_ct(station: str, serial: str) -> Scanner:
    """GE Revolution CT."""
    return Scanner(
        "CT", "GE MEDICAL SYSTEMS", "Revolution CT", "revo_ct_22bc.50", station, serial, GE, kernel="STANDARD"
    )


def siemens_ct(station: str, serial: str) -> Scanner:
    """SIEMENS SOMATOM Definition AS+."""
    return Scanner(
        "CT", "SIEMENS", "SOMATOM Definition AS+", "syngo CT VA48A", station, serial, SIEMENS_CT, kernel="B31f"
    )


def philips_ct(station: str, serial: str) -> Scanner:
    """Philips iCT 256."""
    return Scanner("CT", "Philips Medical Systems", "iCT 256", "4.1", station, serial, PHILIPS, kernel="B")


def toshiba_ct(station: str, serial: str) -> Scanner:
    """TOSHIBA Aquilion ONE, which sends Implicit VR."""
    return Scanner(
        "CT", "TOSHIBA", "Aquilion ONE", "V6.00ER008", station, serial, TOSHIBA, kernel="FC08", implicit=True
    )


def ge_mr(station: str, serial: str) -> Scanner:
    """GE SIGNA Architect 3 T."""
    return Scanner(
        "MR", "GE MEDICAL SYSTEMS", "SIGNA Architect", "29\\LX\\MR Software release:RX29.1", station, serial, GE,
        tesla=3.0,
    )  # fmt: skip


def siemens_mr(station: str, serial: str) -> Scanner:
    """SIEMENS MAGNETOM Aera 1.5 T."""
    return Scanner("MR", "SIEMENS", "Aera", "syngo MR E11", station, serial, SIEMENS, tesla=1.5)


def philips_mr(station: str, serial: str) -> Scanner:
    """Philips Ingenia 3 T."""
    return Scanner("MR", "Philips Medical Systems", "Ingenia", "5.6.1\\5.6.1.2", station, serial, PHILIPS, tesla=3.0)


def canon_mr(station: str, serial: str) -> Scanner:
    """Canon Vantage Orian 1.5 T."""
    return Scanner("MR", "CANON_MEC", "Vantage Orian", "V6.0", station, serial, CANON_MR, tesla=1.5)


def ge_pet(station: str, serial: str) -> Scanner:
    """GE Discovery MI PET/CT."""
    return Scanner("PT", "GE MEDICAL SYSTEMS", "Discovery MI", "pet_mict.40", station, serial, GE, kernel="STANDARD")


def siemens_pet(station: str, serial: str) -> Scanner:
    """SIEMENS Biograph mCT PET/CT."""
    return Scanner("PT", "SIEMENS", "Biograph128_mCT", "syngo PETCT VG60A", station, serial, SIEMENS_CT, kernel="B30f")


def philips_pet(station: str, serial: str) -> Scanner:
    """Philips Vereos PET/CT."""
    return Scanner("PT", "Philips Medical Systems", "Vereos PET/CT", "2.0.2", station, serial, PHILIPS, kernel="B")


def hologic_mg(station: str, serial: str) -> Scanner:
    """HOLOGIC Selenia Dimensions."""
    return Scanner("MG", "HOLOGIC, Inc.", "Selenia Dimensions", "AWS:1.10.0.7", station, serial, HOLOGIC)


def philips_us(station: str, serial: str) -> Scanner:
    """Philips EPIQ 7G."""
    return Scanner("US", "Philips Medical Systems", "EPIQ 7G", "EPIQ_1.8.4.0", station, serial, PHILIPS)


def ge_us(station: str, serial: str) -> Scanner:
    """GE LOGIQ E9."""
    return Scanner("US", "GE Healthcare", "LOGIQE9", "LOGIQE9:R5.2.0", station, serial, GE)


def toshiba_us(station: str, serial: str) -> Scanner:
    """TOSHIBA Aplio 500."""
    return Scanner("US", "TOSHIBA_MEC_US", "TUS-A500", "AB_V5.00*R004", station, serial, TOSHIBA)
